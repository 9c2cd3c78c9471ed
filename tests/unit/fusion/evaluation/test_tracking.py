import multiprocessing

import mlflow

from fusion.evaluation.tracking import open_experiment


def test_runs_that_begin_together_share_one_store(tmp_path):
    """Without waiting for each other, the second fails on tables that the first is still making."""
    uri = f"sqlite:///{tmp_path / 'new' / 'mlflow.db'}"
    context = multiprocessing.get_context("spawn")
    runs = [context.Process(target=open_experiment, args=(uri, name)) for name in ("a", "b", "a")]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert [run.exitcode for run in runs] == [0, 0, 0]
    experiments = {e.name: e.artifact_location for e in mlflow.MlflowClient(tracking_uri=uri).search_experiments()}
    assert {"a", "b"} <= set(experiments) and experiments["a"] == (tmp_path / "new" / "mlartifacts").as_uri()
