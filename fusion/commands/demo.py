"""``ndvi-fusion demo``: the whole chain in one command, resumable, ending in a report."""

from fusion.demo.settings import DemoSettings
from fusion.demo.steps import StepRunner
from fusion.extras import needs_all

__all__ = ["DemoSettings", "run"]


def run(settings: DemoSettings) -> str:
    """Run every step that is not done yet; returns a line with the path of the report."""
    if settings.cube is None:
        training = ["distributed", "torch"] if settings.model is None else []
        needs_all(["matplotlib", "numba", "openeo", *training], "the demo on a simulated scene")
    else:
        needs_all(["matplotlib"], "the demo")
    from fusion.demo.real import run_real
    from fusion.demo.simulated import run_simulated

    settings.out.mkdir(parents=True, exist_ok=True)
    runner = StepRunner(settings.out / "steps", resume=settings.resume)
    report = run_simulated(settings, runner) if settings.cube is None else run_real(settings, runner)
    seconds = sum(record.seconds for record in runner.records)
    return f"{report}: {len(runner.records)} steps, {seconds / 60:.1f} minutes of work"
