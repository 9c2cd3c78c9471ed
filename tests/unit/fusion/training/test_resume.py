"""A training that goes on: in its MLflow run, on the same validation set, with the settings that a user gets."""

import pytest
import torch
from mlflow import MlflowClient
from mlflow.entities import Run

from fusion.commands.train import run
from fusion.data.stream import SceneDataModule
from fusion.training.checkpoint import load_weights
from fusion.training.settings import TrainSettings
from fusion.training.tracking import open_logger
from tests.unit.fusion.training.test_training import settings


def mlflow_run(made: TrainSettings) -> tuple[str, Run]:
    run_id = (made.out / "mlflow_run_id.txt").read_text()
    return run_id, MlflowClient(made.tracking.uri).get_run(run_id)


@pytest.fixture(scope="module")
def resumed(tmp_path_factory):
    """A run with the settings that a user gets (tracking on), and the same command again with more steps."""
    folder, used, recorded = tmp_path_factory.mktemp("resumed"), [], []

    class Kept(SceneDataModule):
        def __init__(self, *given, **more):
            super().__init__(*given, **more)
            used.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fusion.commands.train.SceneDataModule", Kept)
        for more in (["optimiser.max_steps=3"], ["optimiser.max_steps=6", "checkpoint_every=2"]):
            made = settings(folder, *more)
            run(made)
            recorded.append(mlflow_run(made))
    return made, used, recorded


def test_a_resumed_run_keeps_its_parameters_and_says_what_changed(resumed):
    made, _, ((begun, first), (run_id, second)) = resumed
    assert run_id == begun and second.info.status == "FINISHED"
    assert second.data.params == first.data.params and first.data.params["optimiser.max_steps"] == "3"
    told = {name: value for name, value in second.data.tags.items() if name.startswith("resumed_with.")}
    assert told == {"resumed_with.optimiser.max_steps": "6", "resumed_with.checkpoint_every": "2"}
    curve = MlflowClient(made.tracking.uri).get_metric_history(run_id, "val/mae")
    assert len(curve) == 2  # one validation before, one after
    assert load_weights(made.out / "generator.pt").record["steps"] == 6


def test_a_resumed_run_validates_on_the_same_batches_and_trains_on_others(resumed):
    _, used, _ = resumed
    first, second = ([t for batch in data.val_dataloader() for group in batch for t in group] for data in used)
    assert len(first) == len(second) == 16  # two batches of two groups of four tensors
    for before, after in zip(first, second, strict=True):
        torch.testing.assert_close(after, before, rtol=0, atol=0, equal_nan=True)
    drawn = [next(iter(data.train_dataloader())).crops.features for data in used]
    assert not torch.equal(*drawn)


def test_a_run_that_mlflow_does_not_know_any_more_is_recorded_anew(resumed, tmp_path):
    made, _, _ = resumed
    again = made.model_copy(update={"out": tmp_path})
    (tmp_path / "mlflow_run_id.txt").write_text("0" * 32)
    logger = open_logger(again)
    assert logger.run_id != "0" * 32 and (tmp_path / "mlflow_run_id.txt").read_text() == logger.run_id
    assert mlflow_run(again)[1].data.params["optimiser.max_steps"] == "6"


def test_a_finished_training_that_is_finished_again_registers_nothing(resumed):
    made, _, ((run_id, _), _) = resumed
    client = MlflowClient(made.tracking.uri)
    before = client.search_model_versions("name='ndvi-fusion'")
    assert {v.run_id for v in before} == {run_id} and len(before) == 2  # after 3 steps and after 6
    run(made)
    assert len(client.search_model_versions("name='ndvi-fusion'")) == 2
