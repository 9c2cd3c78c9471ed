"""Every recipe of configs/experiment trains: composed as it stands, then made small by overrides."""

from pathlib import Path

import numpy as np
import pytest

from fusion.cli.settings import load_settings
from fusion.commands.train import run
from fusion.config_folder import config_folder
from fusion.inference.session import load_session
from fusion.training.checkpoint import load_weights, save_weights
from fusion.training.settings import TrainSettings
from tests.factory import mock_generator, mock_store

EXPERIMENTS = sorted(file.stem for file in (config_folder() / "experiment").glob("*.yaml"))
STEPS = 3
# what makes any recipe small; everything else, the losses and the precision above all, stays as the recipe says
SMALL = [
    f"optimiser.max_steps={STEPS}", "optimiser.warmup_steps=1", "validate_every=2", "checkpoint_every=2",
    "validation_batches=1", "calibration_batches=1", "batch_size=2", "workers=0", "threads=1", "accelerator=cpu",
    "generator.width=8", "samples.steps=24", "samples.crops_a_side=1", "samples.scenes_in_memory=2",
    "samples.crops_in_memory=2", "points_per_step=3", "tracking.enabled=false", "progress=false",
]  # fmt: skip
SCENES = ["scenes.settings.height=24", "scenes.settings.width=24", "scenes.settings.n_days=240"]
SCENES += ["scenes.settings.geometry.margin_px=8"]
ADVERSARIAL = ["loss.adversarial_warmup=1", "loss.adversarial_ramp=1", "loss.r1_every=2"]  # each part within the steps


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_recipe_trains_in_the_small(experiment: str, tmp_path: Path) -> None:
    recipe = load_settings("train", TrainSettings, [f"experiment={experiment}", *needed(experiment, tmp_path)])
    words = [f"experiment={experiment}", *needed(experiment, tmp_path), *SMALL]
    words += SCENES if recipe.scenes is not None else []
    words += ADVERSARIAL if recipe.loss.adversarial > 0 else []
    made = load_settings("train", TrainSettings, words)
    assert (made.precision, made.loss.adversarial) == (recipe.precision, recipe.loss.adversarial)
    model = run(made)
    assert load_session(model).manifest.training["steps"] == STEPS
    weights = load_weights(made.out / "generator.pt").generator.state_dict()
    assert all(np.isfinite(tensor.numpy()).all() for tensor in weights.values())
    start = made.start_from and load_weights(made.start_from).generator.state_dict()
    assert not start or any(not np.array_equal(start[name], tensor) for name, tensor in weights.items())


def test_every_recipe_is_tried() -> None:
    shipped = {"shipped", "shipped_cpu", "shipped_cpu_adversarial", "shipped_real", "shipped_real_adversarial"}
    assert shipped | {"demo", "fine_tune"} == set(EXPERIMENTS)


def needed(experiment: str, folder: Path) -> list[str]:
    """What a recipe asks of its user: an output folder, a store, weights to start from."""
    words = [f"out={folder / 'run'}"]
    if experiment in ("demo", "fine_tune"):
        splits = {"a": "train", "b": "train", "c": "calibration"}
        store = folder / "store.zarr"
        words.append(f"store={store if store.exists() else mock_store(store, splits, t=60, y=16, x=16)}")
    if experiment.startswith("shipped_real"):
        splits = {"a": "train", "c": "calibration"}
        stores = [folder / f"{k}.zarr" for k in range(8)]  # as many as the recipe has shares for
        stores = [s if s.exists() else mock_store(s, splits, t=60, y=16, x=16, truth=False) for s in stores]
        words.append(f"store=[{','.join(map(str, stores))}]")
    if experiment == "fine_tune" or experiment.endswith("_adversarial"):
        save_weights(folder / "start.pt", mock_generator(1))
        words.append(f"start_from={folder / 'start.pt'}")
    return words
