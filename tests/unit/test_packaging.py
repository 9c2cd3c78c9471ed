"""What pip installs: every module, the YAML files under ``fusion/configs``, the shipped model, and nothing else."""

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PACKAGES = ("data_prep", "fusion", "udf")
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]


def test_every_package_is_named() -> None:
    inits = [path for package in PACKAGES for path in (ROOT / package).rglob("__init__.py")]
    folders = {".".join(path.parent.relative_to(ROOT).parts) for path in inits}
    assert set(SETUPTOOLS["packages"]) == folders | {"fusion.configs"}
    assert SETUPTOOLS["packages"] == sorted(SETUPTOOLS["packages"])


def test_configs_is_no_package_of_its_own() -> None:
    assert SETUPTOOLS["package-dir"] == {"fusion.configs": "configs"}
    assert not list((ROOT / "configs").rglob("*.py"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy so that the checkout stays as it is."""
    pytest.importorskip("setuptools", minversion="77", reason="the wheel is built with the installed setuptools")
    folder = tmp_path_factory.mktemp("wheel")
    for name in (*PACKAGES, "configs"):
        shutil.copytree(ROOT / name, folder / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "source" / name)
    words = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    subprocess.run([sys.executable, *words, str(folder / "source")], check=True, capture_output=True)
    return next(folder.glob("*.whl"))


@pytest.mark.slow
def test_content_of_the_wheel(wheel: Path) -> None:
    names = [name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name]
    assert {name.split("/")[0] for name in names} == set(PACKAGES)
    modules = {p.relative_to(ROOT).as_posix() for package in PACKAGES for p in (ROOT / package).rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == modules
    files = {"fusion/" + p.relative_to(ROOT).as_posix() for p in (ROOT / "configs").rglob("*.yaml")}
    assert {name for name in names if name.endswith(".yaml")} == files
    others = [name for name in names if not name.endswith((".py", ".yaml", ".json", ".css", "/py.typed"))]
    assert sorted(others) == ["fusion/pretrained/generator.pt", "fusion/pretrained/model.onnx"]
    assert {"fusion/pretrained/manifest.json", "fusion/demo/report.css", "udf/context_v1.schema.json"} <= set(names)


@pytest.mark.slow
def test_an_installed_package_finds_its_own_settings(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    (tmp_path / "site" / "configs").mkdir()  # of some other distribution
    (tmp_path / "site" / "configs" / "workflow.yaml").write_text("step_days: 99\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    words = ["-m", "fusion", "workflow", "target=cdse", "out=x", "--settings"]
    done = subprocess.run([sys.executable, *words], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = yaml.safe_load(done.stdout)
    assert (found["step_days"], found["target"]["name"]) == (5, "cdse")
