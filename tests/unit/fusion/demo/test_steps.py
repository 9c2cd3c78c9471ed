"""Steps are done once, and again when anything before them changed."""

import json
from pathlib import Path

import pytest

from fusion.demo.steps import StepRunner


def run_chain(folder: Path, done: list[str], *, first: int = 1, second: int = 1, resume: bool = True) -> StepRunner:
    runner = StepRunner(folder / "steps", resume=resume)

    def work(name: str, product: Path) -> dict[str, str]:
        done.append(name)
        product.write_text(name)
        return {"made": name}

    runner.do("a", "A", lambda: work("a", folder / "a.txt"), settings=first, products=(folder / "a.txt",))
    runner.do("b", "B", lambda: work("b", folder / "b.txt"), settings=second, products=(folder / "b.txt",))
    return runner


def test_second_run_does_nothing_and_knows_the_facts(tmp_path: Path) -> None:
    done: list[str] = []
    run_chain(tmp_path, done)
    runner = run_chain(tmp_path, done)
    assert done == ["a", "b"]
    assert [r.facts for r in runner.records] == [{"made": "a"}, {"made": "b"}]


def test_a_change_reaches_all_later_steps(tmp_path: Path) -> None:
    done: list[str] = []
    run_chain(tmp_path, done)
    run_chain(tmp_path, done, second=2)
    assert done == ["a", "b", "b"]
    run_chain(tmp_path, done, first=2, second=2)
    assert done == ["a", "b", "b", "a", "b"]


def test_a_lost_product_is_made_again(tmp_path: Path) -> None:
    done: list[str] = []
    run_chain(tmp_path, done)
    (tmp_path / "b.txt").unlink()
    run_chain(tmp_path, done)
    assert done == ["a", "b", "b"]


def test_resume_can_be_switched_off(tmp_path: Path) -> None:
    done: list[str] = []
    run_chain(tmp_path, done)
    run_chain(tmp_path, done, resume=False)
    assert done == ["a", "b", "a", "b"]


def test_a_damaged_record_is_no_record(tmp_path: Path) -> None:
    done: list[str] = []
    run_chain(tmp_path, done)
    (tmp_path / "steps" / "a.json").write_text("{")
    (tmp_path / "steps" / "b.json").write_text(json.dumps({"name": "b"}))
    run_chain(tmp_path, done)
    assert done == ["a", "b", "a", "b"]


def test_a_step_without_its_product_has_failed(tmp_path: Path) -> None:
    runner = StepRunner(tmp_path / "steps", resume=True)
    with pytest.raises(RuntimeError, match="without its product"):
        runner.do("a", "A", lambda: None, settings=1, products=(tmp_path / "missing",))
    assert not list((tmp_path / "steps").iterdir())


def test_a_failed_step_is_done_again(tmp_path: Path) -> None:
    runner = StepRunner(tmp_path / "steps", resume=True)
    with pytest.raises(ValueError, match="boom"):
        runner.do("a", "A", lambda: (_ for _ in ()).throw(ValueError("boom")), settings=1)
    assert not list((tmp_path / "steps").iterdir())
