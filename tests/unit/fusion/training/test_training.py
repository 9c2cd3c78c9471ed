import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import xarray as xr
from pydantic import ValidationError
from torch.utils.data import get_worker_info

import fusion
from data_prep.farm import WorkersLostError
from data_prep.patches import CutSettings, SceneTask, cut_patches
from data_prep.simulator.settings import SceneSettings
from data_prep.simulator.stream import SimulatedScenes
from data_prep.split import SplitSettings
from fusion.cli.settings import load_settings
from fusion.commands import predict
from fusion.commands.train import mean_weights, run
from fusion.data.cube_files import read_cube
from fusion.data.mixture import Source
from fusion.data.patch import StoreError
from fusion.data.samples import SampleSettings
from fusion.data.store import PatchStore
from fusion.data.stream import BatchStream, SceneDataModule
from fusion.data.targets import target_on_grid
from fusion.demo.real import RealDemo
from fusion.demo.settings import DemoSettings
from fusion.demo.steps import StepRunner
from fusion.evaluation.tracking import open_experiment
from fusion.features.features import FEATURE_NAMES
from fusion.inference.locate import ModelNotFoundError, TrackingError, locate_model
from fusion.inference.session import load_session
from fusion.training.calibrate import calibrate
from fusion.training.checkpoint import (
    GeneratorSettings,
    TrainedGenerator,
    WeightsError,
    build_generator,
    load_weights,
    save_weights,
)
from fusion.training.settings import TrainSettings
from fusion.training.sources import data_manifest
from tests.factory import mock_cube, mock_store, write_cube
from udf.commands import package

ROOT = Path(__file__).parents[4]


def settings(tmp_path, *more: str) -> TrainSettings:
    tracking = [f"tracking.uri=sqlite:///{tmp_path}/mlflow.db", "tracking.min_steps=0"]
    return load_settings(
        "train", TrainSettings, ["debug=tiny", f"out={tmp_path}/run", "progress=false", *tracking, *more]
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("training")
    first = settings(folder)
    model = run(first)
    return first, model


def test_a_run_leaves_checkpoint_curve_and_model(trained):
    made, model = trained
    assert {p.name for p in model.iterdir()} == {"model.onnx", "manifest.json"}
    assert load_session(model).manifest.training["steps"] == 6
    curve = (made.out / "curve.csv").read_text().splitlines()
    assert len(curve) == 3 and "val/mae" in curve[0]
    assert load_weights(made.out / "generator.pt").record["steps"] == 6


def test_the_run_is_in_mlflow_and_its_model_in_the_registry(trained, tmp_path, monkeypatch):
    made, model = trained
    import mlflow

    client = mlflow.MlflowClient(made.tracking.uri)
    run_id = (made.out / "mlflow_run_id.txt").read_text()
    recorded = client.get_run(run_id)
    assert recorded.data.params["optimiser.max_steps"] == "6"
    assert "val/mae" in recorded.data.metrics
    assert [f.path for f in client.list_artifacts(run_id, "config")] == ["config/settings.yaml"]
    data = mlflow.artifacts.load_dict(f"{recorded.info.artifact_uri}/data/manifest.json")
    (source,) = data["sources"]
    assert (source["name"], source["share"], source["kind"]) == ("scenes", 1.0, "simulated")
    assert source["seeds"]["train"] == made.seed and len(source["code_sha256"]) == 64
    assert load_session(model).manifest.training["data_sha256"] == data["sha256"]
    pictures = {f.path: f.file_size for f in client.list_artifacts(run_id, "figures")}
    assert set(pictures) == {"figures/example_maps.png", "figures/example_series.png"}
    assert all((made.out / name).stat().st_size == size > 10_000 for name, size in pictures.items())
    for reference in (f"run:{run_id}", "ndvi-fusion@newest", "ndvi-fusion/1", "ndvi-fusion"):
        found = locate_model(reference, made.tracking.uri)
        assert load_session(found).manifest.sha256 == load_session(model).manifest.sha256
    with pytest.raises(ModelNotFoundError, match="not in the MLflow store"):
        locate_model("nobody", made.tracking.uri)


def test_the_run_names_its_data_its_code_and_its_recipe(trained):
    made, _ = trained
    import mlflow

    recorded = mlflow.MlflowClient(made.tracking.uri).get_run((made.out / "mlflow_run_id.txt").read_text())
    (source,) = recorded.inputs.dataset_inputs
    data = data_manifest(made)["sources"][0]
    assert source.dataset.name == "scenes" and data["sha256"].startswith(source.dataset.digest)
    assert json.loads(source.dataset.profile) == {"kind": "simulated", "share": 1.0}
    assert {tag.key: tag.value for tag in source.tags} == {"mlflow.data.context": "training", "share": "1.0"}
    tags = recorded.data.tags
    assert (tags["mlflow.source.name"], tags["recipe"]) == ("ndvi-fusion train", "tiny")
    assert "scenes (simulated, share 1)" in tags["mlflow.note.content"]
    if (ROOT / ".git").exists():
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
        assert tags["mlflow.source.git.commit"] == head.stdout.strip()


def test_the_registered_model_takes_a_cube_and_the_onnx_model_features(trained):
    made, model = trained
    import mlflow

    mlflow.set_tracking_uri(made.tracking.uri)
    client = mlflow.MlflowClient(made.tracking.uri)
    version = client.get_model_version_by_alias("ndvi-fusion", "newest")
    assert (
        version.description.startswith("6 steps")
        and "takes a cube" in client.get_registered_model("ndvi-fusion").description
    )
    loaded = mlflow.pyfunc.load_model("models:/ndvi-fusion@newest")
    cube = mock_cube(t=8, y=6, x=6)
    period = {"start": "2019-03-06", "end": "2019-04-05"}
    answer = loaded.predict(cube, params=period)
    xr.testing.assert_identical(answer, fusion.fuse(cube, model=model, **period))
    whole = loaded.predict(cube.drop_attrs(), params={"s1_units": "dB", "latitude": 51.0, "step_days": 10})
    assert whole.t.values.astype("datetime64[D]").tolist() == cube.t.values[::2].astype("datetime64[D]").tolist()
    table = loaded.predict(loaded.input_example, params={"s1_units": "dB"})
    assert list(table.columns) == ["NDVI", "NDVI_SIGMA"] and np.isfinite(table.to_numpy()).all()
    assert not list(Path(mlflow.artifacts.download_artifacts("models:/ndvi-fusion@newest")).rglob("*.pkl"))
    run_id = (made.out / "mlflow_run_id.txt").read_text()
    experiment = client.get_run(run_id).info.experiment_id
    (network,) = client.search_logged_models([experiment], filter_string="name = 'onnx'")
    onnx_model = mlflow.pyfunc.load_model(network.model_uri)
    assert onnx_model.predict(onnx_model.input_example)["ndvi"].shape == (1, 3, 4, 4)


def test_a_short_run_and_a_failed_one_do_not_move_the_alias(trained, tmp_path):
    made, _ = trained
    import mlflow

    shutil.copy(made.tracking.uri.removeprefix("sqlite:///"), tmp_path / "mlflow.db")
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    short = settings(tmp_path, "tracking.min_steps=500", "optimiser.max_steps=2", "tracking.experiment=other")
    run(short)
    assert [v.version for v in client.search_model_versions("name='ndvi-fusion'")] == [2, 1]
    assert client.get_model_version_by_alias("ndvi-fusion", "newest").version == 1
    broken = settings(tmp_path, f"out={tmp_path}/broken", "tracking.experiment=other")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fusion.commands.train.calibrate", lambda *a, **k: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(broken)
    assert client.get_model_version_by_alias("ndvi-fusion", "newest").version == 1
    failed = client.get_run((broken.out / "mlflow_run_id.txt").read_text())
    assert failed.info.status == "FAILED"


def test_a_failed_start_leaves_nothing_that_the_next_one_meets(tmp_path):
    import mlflow

    with pytest.raises(StoreError, match="is not a patch store"):
        run(settings(tmp_path, "scenes=null", f"store={tmp_path}/missing.zarr"))
    untrained = mock_store(tmp_path / "one.zarr", {"a": "train"}, t=24, y=8, x=8)
    with pytest.raises(ValueError, match="no patch in split 'calibration'"):
        run(settings(tmp_path, "scenes=null", f"store={untrained}"))
    with pytest.raises(WeightsError, match="no checkpoint"):
        run(settings(tmp_path, f"start_from={tmp_path}/missing.pt"))
    with pytest.MonkeyPatch.context() as patch:  # an error between the first words to MLflow and the first step
        patch.setattr("fusion.commands.train._trainer", lambda *a, **k: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(settings(tmp_path, "seed=5"))
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    (experiment,) = [e for e in client.search_experiments() if e.name == "ndvi-fusion"]
    assert [r.info.status for r in client.search_runs([experiment.experiment_id])] == ["FAILED"]
    assert not (tmp_path / "run" / "mlflow_run_id.txt").exists()
    good = settings(tmp_path, "optimiser.max_steps=1")
    run(good)
    tags = client.get_run((good.out / "mlflow_run_id.txt").read_text()).data.tags
    assert not [tag for tag in tags if tag.startswith("resumed_with.")]


def test_models_of_a_store_that_was_moved_are_found(trained, tmp_path):
    made, _ = trained
    old = Path(made.tracking.uri.removeprefix("sqlite:///"))
    shutil.copytree(old.parent / "mlartifacts", tmp_path / "mlartifacts")
    shutil.copy(old, tmp_path / "mlflow.db")
    moved = f"sqlite:///{tmp_path}/mlflow.db"
    hidden = old.parent.with_name("gone")
    old.parent.rename(hidden)
    try:
        for reference in ("ndvi-fusion@newest", f"run:{(hidden / 'run' / 'mlflow_run_id.txt').read_text()}"):
            found = locate_model(reference, moved)
            assert found.is_relative_to(tmp_path)
            assert load_session(found).manifest.sha256 == load_session(hidden / "run" / "model").manifest.sha256
        with pytest.raises(TrackingError, match="was moved: .*tracking.experiment=NAME"):
            open_experiment(moved, "ndvi-fusion")
        assert open_experiment(moved, "anew") and not old.parent.exists()
    finally:
        hidden.rename(old.parent)


@pytest.fixture(scope="module")
def references(trained):
    """Every way to name the trained model."""
    made, model = trained
    run_id = (made.out / "mlflow_run_id.txt").read_text()
    return {
        "folder": str(model),
        "file": str(model / "model.onnx"),
        "run": f"run:{run_id}",
        "alias": "ndvi-fusion@newest",
        "version": "ndvi-fusion/1",
        "name": "ndvi-fusion",
    }


KINDS = ("folder", "file", "run", "alias", "version", "name")


@pytest.mark.parametrize("kind", KINDS)
def test_predict_takes_a_file_a_run_or_a_registry_name(trained, references, kind, tmp_path, monkeypatch):
    made, model = trained
    monkeypatch.setenv("MLFLOW_TRACKING_URI", made.tracking.uri)
    cube = write_cube(tmp_path / "cube.nc", t=8, y=6, x=6)
    line = predict.run(predict.PredictSettings(cube=cube, out=tmp_path / "ndvi.nc", model=references[kind], threads=1))
    assert "ndvi.nc: 8 dates 2019-03-01..2019-04-05, 6 x 6 px, 100.0 % filled" in line
    with xr.open_dataset(tmp_path / "ndvi.nc") as written:
        used = {**written.attrs, **written[next(iter(written.data_vars))].attrs}
    assert load_session(model).manifest.sha256 in map(str, used.values())


@pytest.mark.parametrize("kind", KINDS)
def test_package_takes_a_file_a_run_or_a_registry_name(trained, references, kind, tmp_path, monkeypatch):
    made, model = trained
    monkeypatch.setenv("MLFLOW_TRACKING_URI", made.tracking.uri)
    package.run(package.PackageSettings(out=tmp_path / "out", model=references[kind], dependencies=False))
    (archive,) = (tmp_path / "out").glob("*model*.zip")
    packed, own = load_session(archive), load_session(model)  # the packed file also states version and licence
    assert packed.manifest.training == own.manifest.training
    stack = np.random.default_rng(0).normal(size=(len(own.manifest.features), 12, 8, 8)).astype(np.float32)
    for answer, expected in zip(packed.run(stack), own.run(stack), strict=True):
        np.testing.assert_array_equal(answer, expected)


@pytest.mark.parametrize("kind", ["file", "run", "alias"])
def test_the_demo_takes_a_file_a_run_or_a_registry_name(trained, references, kind, tmp_path, monkeypatch):
    made, model = trained
    monkeypatch.setenv("MLFLOW_TRACKING_URI", made.tracking.uri)
    words = [f"cube={write_cube(tmp_path / 'cube.nc', t=60, y=16, x=16)}", f"out={tmp_path}/demo"]
    demo = RealDemo(
        load_settings("demo", DemoSettings, [*words, f"model={references[kind]}"]),
        StepRunner(tmp_path / "steps", resume=False),
    )
    demo.make_cube()
    assert demo.predict() == {"dates": 60}
    assert load_session(model).manifest.sha256 in str(read_cube(demo.fused).attrs)


def test_the_checkpoint_holds_tensors_and_plain_settings_only(trained):
    made, _ = trained
    torch.load(made.out / "last.ckpt", weights_only=True)


def test_data_of_a_run_are_told_apart(tmp_path):
    one, same, other = settings(tmp_path), settings(tmp_path / "elsewhere"), settings(tmp_path, "seed=1")
    assert data_manifest(one) == data_manifest(same)
    assert data_manifest(one)["sha256"] != data_manifest(other)["sha256"]
    store = mock_store(tmp_path / "x.zarr", {"a": "train"}, t=10, y=8, x=8)
    (store / "manifest.json").write_text('{"patches": 3}')
    (stored,) = data_manifest(settings(tmp_path, "scenes=null", f"store={store}"))["sources"]
    assert stored["manifest"] == {"patches": 3} and stored["sha256"] == PatchStore.open(store).content_hash()
    both = data_manifest(settings(tmp_path, f"store={store}", "shares=[3,1]"))
    assert [(s["name"], s["share"]) for s in both["sources"]] == [("scenes", 0.75), ("x", 0.25)]
    assert both["sha256"] != data_manifest(settings(tmp_path, f"store={store}", "shares=[1,1]"))["sha256"]


def test_resuming_goes_on_at_the_step_where_it_stopped(tmp_path):
    first = settings(tmp_path, "optimiser.max_steps=3", "tracking.enabled=false")
    run(first)
    halfway = torch.load(first.out / "last.ckpt", weights_only=True)
    assert halfway["progress"]["generator_steps"] == 3
    run(settings(tmp_path, "optimiser.max_steps=6", "tracking.enabled=false"))
    done = torch.load(first.out / "last.ckpt", weights_only=True)
    assert done["progress"]["generator_steps"] == 6
    assert done["progress"]["seconds"] > halfway["progress"]["seconds"]
    # the optimiser went on with its own state: six updates of every weight
    assert all(int(s["step"]) == 6 for s in done["optimizer_states"][0]["state"].values())


@pytest.mark.parametrize("limit", ["optimiser.max_steps=2", "optimiser.max_minutes=1e-5"])
def test_a_run_that_is_over_is_not_trained_again(tmp_path, limit):
    made = settings(tmp_path, limit, "checkpoint_every=500", "tracking.enabled=false")
    run(made)
    before = load_weights(made.out / "generator.pt")
    assert before.record["steps"] == (2 if "steps" in limit else 1)
    folder = run(made)
    after = load_weights(made.out / "generator.pt")
    assert after.record["steps"] == before.record["steps"] == load_session(folder).manifest.training["steps"]
    states = before.generator.state_dict(), after.generator.state_dict()
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])


def test_the_last_step_is_kept_although_no_checkpoint_was_due(tmp_path):
    first = settings(tmp_path, "optimiser.max_steps=2", "checkpoint_every=500", "tracking.enabled=false")
    run(first)
    run(settings(tmp_path, "optimiser.max_steps=5", "checkpoint_every=500", "tracking.enabled=false"))
    done = torch.load(first.out / "last.ckpt", weights_only=True)
    assert done["progress"]["generator_steps"] == 5
    assert all(int(s["step"]) == 5 for s in done["optimizer_states"][0]["state"].values())


def test_a_checkpoint_of_another_network_is_refused_in_words(tmp_path, trained):
    made, _ = trained
    other = settings(tmp_path, "generator.width=12", "tracking.enabled=false")
    other.out.mkdir(parents=True)
    (other.out / "last.ckpt").write_bytes((made.out / "last.ckpt").read_bytes())
    with pytest.raises(WeightsError, match="resume=false"):
        run(other)


def test_before_the_adversarial_loss_counts_both_nets_learn(tmp_path):
    """The generator learns as if there were no discriminator, which learns already."""
    states = {}
    for name, more in (("with", ["loss.adversarial=0.01"]), ("without", [])):  # 200 steps of warm-up, six are made
        (tmp_path / name).mkdir()
        made = settings(tmp_path / name, "tracking.enabled=false", *more)
        torch.manual_seed(0)
        run(made)
        states[name] = torch.load(made.out / "last.ckpt", weights_only=True)
    assert all(int(s["step"]) == 6 for s in states["with"]["optimizer_states"][1]["state"].values())
    weights = {n: s["state_dict"] for n, s in states.items()}
    assert any(key.startswith("discriminator") for key in weights["with"])
    for key, value in weights["without"].items():
        assert torch.equal(weights["with"][key], value), key
    assert weights["with"]["generator.head.weight"].abs().sum() > 0  # it starts at 0


def test_adversarial_training_moves_both_nets(tmp_path, trained):
    start, _ = trained
    made = settings(
        tmp_path,
        "loss.adversarial=0.01",
        "loss.adversarial_warmup=1",
        "loss.adversarial_ramp=1",
        "loss.r1_every=2",
        f"start_from={start.out}/generator.pt",
        "tracking.enabled=false",
    )
    run(made)
    state = torch.load(made.out / "last.ckpt", weights_only=True)
    assert len(state["optimizer_states"]) == 2
    assert all(int(s["step"]) == 6 for s in state["optimizer_states"][1]["state"].values())
    before = load_weights(start.out / "generator.pt").generator.state_dict()
    after = load_weights(made.out / "generator.pt").generator.state_dict()
    assert any(not torch.equal(before[k], after[k]) for k in before)


@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ("loss.adversarial=0.01", "loss.adversarial_warmup=0")])
def test_two_devices_learn_together_and_leave_one_model(tmp_path, more):
    asked = ["debug=tiny", f"out={tmp_path}/run", "progress=false", f"tracking.uri=sqlite:///{tmp_path}/mlflow.db"]
    asked += ["accelerator=cpu", "devices=2", *more]
    command = [sys.executable, "-m", "fusion", "train", *asked]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    record = load_weights(tmp_path / "run" / "generator.pt").record
    assert (record["steps"], record["devices"]) == (6, 2)
    assert len((tmp_path / "run" / "curve.csv").read_text().splitlines()) == 3
    assert load_session(tmp_path / "run" / "model").manifest.training["steps"] == 6


def test_devices_draw_crops_of_their_own():
    source = SimulatedScenes({"height": 24, "width": 24, "n_days": 240, "geometry": {"margin_px": 8}})
    cut = SampleSettings(steps=24, crops_a_side=2, scenes_in_memory=2, crops_in_memory=16)
    first = []
    for rank in (0, 1):
        data = SceneDataModule(
            [Source("scenes", 1.0, lambda seed: SimulatedScenes(source.settings, seed), wide=True)], [], cut,
            batch_size=2, points=2, validation_batches=1, workers=0, seed=5, validation_seed=5,
        )  # fmt: skip
        data.trainer = SimpleNamespace(global_rank=rank)
        first.append(next(iter(data.train_dataloader())))
    assert not torch.equal(first[0].crops.features, first[1].crops.features)
    assert not torch.equal(first[0].points.features, first[1].points.features)


def test_same_seed_same_weights(tmp_path):
    states = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        made = settings(tmp_path / name, "tracking.enabled=false", "optimiser.max_steps=2", "validate_every=2")
        run(made)
        states.append(load_weights(made.out / "generator.pt").generator.state_dict())
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])


def test_calibration_gives_one_entry_a_gap_bin(trained):
    made, _ = trained
    generator = load_weights(made.out / "generator.pt").generator
    scenes = SimulatedScenes({"height": 24, "width": 24, "n_days": 240, "geometry": {"margin_px": 8}}, 5)
    table = calibrate(generator, ([scene] for scene in scenes), made.samples, visits=12, seed=0)
    assert np.all(np.diff(table.gap_days) > 0)
    assert len(table.ndvi_factor) == len(table.observation_noise) == len(table.gap_days)
    assert all(f > 0 for f in table.ndvi_factor) and all(n >= 0 for n in table.observation_noise)


class Rogue:
    def __reduce__(self):
        return (print, ("code ran",))


def test_a_checkpoint_with_code_is_refused(tmp_path, capsys):
    file = tmp_path / "rogue.pt"
    torch.save({"format": 1, "state": Rogue()}, file)
    with pytest.raises(WeightsError, match="tensors and plain settings"):
        load_weights(file)
    assert "code ran" not in capsys.readouterr().out
    file.write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(WeightsError, match="cannot be read"):
        load_weights(file)
    with pytest.raises(WeightsError, match="no checkpoint"):
        load_weights(tmp_path / "missing.pt")


def test_features_of_another_version_are_refused(trained, tmp_path):
    made, _ = trained
    content = torch.load(made.out / "generator.pt", weights_only=True)
    torch.save({**content, "feature_version": 99}, tmp_path / "old.pt")
    with pytest.raises(WeightsError, match="feature version 99"):
        load_weights(tmp_path / "old.pt")
    torch.save({**content, "features": ["brightness", *content["features"][1:]]}, tmp_path / "unknown.pt")
    with pytest.raises(WeightsError, match=f"{len(FEATURE_NAMES)} features"):
        load_weights(tmp_path / "unknown.pt")


def test_weights_of_fewer_features_ignore_the_new_ones(trained, tmp_path):
    made, _ = trained
    content = torch.load(made.out / "generator.pt", weights_only=True)
    stem = content["state"]["stem.weight"]
    fewer = {**content["state"], "stem.weight": stem[:, :-2].clone()}
    torch.save({**content, "features": content["features"][:-2], "state": fewer}, tmp_path / "fewer.pt")
    found = load_weights(tmp_path / "fewer.pt").generator.state_dict()["stem.weight"]
    assert torch.equal(found[:, :-2], stem[:, :-2]) and not found[:, -2:].any()


def test_contradictory_settings_are_refused_before_any_work(tmp_path):
    with pytest.raises(ValidationError, match="'store' or 'scenes' must be given"):
        TrainSettings(out=tmp_path)
    both = {"out": tmp_path, "store": (tmp_path / "a.zarr", tmp_path / "b.zarr"), "scenes": {"_target_": "x"}}
    assert TrainSettings(**both).all_shares == (1, 1, 1)
    with pytest.raises(ValidationError, match=r"expected 3 numbers .* scenes, .*a\.zarr, .*b\.zarr"):
        TrainSettings(**both, shares=(0.5, 0.5))
    with pytest.raises(ValidationError, match="not all 0"):
        TrainSettings(**both, shares=(0, 0, 0))
    with pytest.raises(ValidationError, match="given twice"):
        TrainSettings(out=tmp_path, store=(tmp_path, tmp_path))
    with pytest.raises(ValidationError, match="crop_px"):
        TrainSettings(out=tmp_path, store=tmp_path, loss={"adversarial": 0.01}, samples={"crop_px": 4})


def narrow_checkpoint(folder, seed: int, width: int):
    torch.manual_seed(seed)
    settings = GeneratorSettings(width=width)
    generator = build_generator(settings)
    for parameter in generator.parameters():  # no part may be zero, as some are at first
        torch.nn.init.normal_(parameter, std=0.1)
    return save_weights(folder / f"{seed}.pt", TrainedGenerator(generator, settings, None, {}))


def test_a_run_may_start_from_the_mean_of_several(tmp_path):
    files = [narrow_checkpoint(tmp_path, seed, 8) for seed in (1, 2)]
    shape = GeneratorSettings(width=8)
    one, other = (mean_weights(file, shape) for file in files)
    assert torch.equal(one["stem.weight"], load_weights(files[0]).generator.stem.weight)
    for name, value in mean_weights(tuple(files), shape).items():
        torch.testing.assert_close(value, (one[name] + other[name]) / 2)


@pytest.mark.parametrize(
    "shape",
    [
        GeneratorSettings(width=4),
        GeneratorSettings(width=10),
        GeneratorSettings(width=6, dilations=(1, 2)),
        GeneratorSettings(width=6, dilations=(1, 2, 4, 8, 16, 1)),
        GeneratorSettings(width=6, spatial_every=3),
    ],
)
def test_a_start_of_another_shape_is_refused(tmp_path, shape):
    with pytest.raises(WeightsError, match="width=6 .*generator.width"):
        mean_weights(narrow_checkpoint(tmp_path, 1, 6), shape)


def test_calibration_on_a_store_meets_the_dates_that_have_truth(trained, monkeypatch):
    made, _ = trained
    generator = load_weights(made.out / "generator.pt").generator
    truths = []

    def spy(scene, obs, visible, grid_days, *, use_obs):
        assert np.isin(grid_days, scene.truth_days).all()
        truths.append(target_on_grid(scene, obs, visible, grid_days, use_obs=use_obs))
        return truths[-1]

    monkeypatch.setattr("fusion.training.calibrate.target_on_grid", spy)
    cut = CutSettings(patch_px=24, min_observations=1)
    scene = SceneSettings(height=24, width=24, n_days=240)
    patches = [next(cut_patches(SceneTask(seed, scene, None), cut, SplitSettings())) for seed in range(6)]
    calibrate(generator, [[patch] for patch in patches], made.samples, visits=6, seed=0)
    assert len(truths) == 6 and min(np.isfinite(truth).mean() for truth in truths) == 1.0


def killed(self):
    """In place of the iteration of a stream: its process is ended, as by Linux for lack of memory."""
    assert get_worker_info() is not None
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_process_that_prepares_samples_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(BatchStream, "__iter__", killed)
    with pytest.raises(WorkersLostError, match=r"samples was killed \(DataLoader worker .*\), most likely") as told:
        run(settings(tmp_path, "tracking.enabled=false", "workers=2"))
    assert "workers= than 2 (0: in the training process) or smaller samples.crops_in_memory= than 16" in str(told.value)
    assert str(told.value).endswith("The same command begins anew") and "\n" not in str(told.value)


@pytest.mark.slow
def test_after_a_killed_process_the_run_resumes_with_fewer(tmp_path, monkeypatch):
    run(settings(tmp_path, "optimiser.max_steps=3", "tracking.enabled=false"))
    more = ("optimiser.max_steps=4", "tracking.enabled=false")
    with monkeypatch.context() as patch, pytest.raises(WorkersLostError, match=r"resumes from last\.ckpt$"):
        patch.setattr(BatchStream, "__iter__", killed)
        run(settings(tmp_path, *more, "workers=1"))
    resumed = run(settings(tmp_path, *more, "workers=0"))
    assert load_session(resumed).manifest.training["steps"] == 4
