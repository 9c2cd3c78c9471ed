"""What pip installs: every module, the YAML files under ``fusion/configs``, the shipped model, and nothing else."""

import os
import re
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
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SETUPTOOLS = PYPROJECT["tool"]["setuptools"]
# what only training, recording and clusters need
HEAVY = (
    "torch",
    "pytorch-lightning",
    "mlflow",
    "onnx",
    "onnxscript",
    "distributed",
    "numba",
    "openeo",
    "geopandas",
    "matplotlib",
)


def test_every_package_is_named() -> None:
    inits = [path for package in PACKAGES for path in (ROOT / package).rglob("__init__.py")]
    folders = {".".join(path.parent.relative_to(ROOT).parts) for path in inits}
    assert set(SETUPTOOLS["packages"]) == folders | {"fusion.configs"}
    assert SETUPTOOLS["packages"] == sorted(SETUPTOOLS["packages"])


def test_configs_is_no_package_of_its_own() -> None:
    assert SETUPTOOLS["package-dir"] == {"fusion.configs": "configs"}
    assert not list((ROOT / "configs").rglob("*.py"))


def name_and_limits(requirement: str) -> tuple[str, str]:
    """Normalised name of a distribution, without its own extras, and its version limits."""
    name, _, limits = re.fullmatch(r"([\w.-]+)(\[[\w,]+\])?(.*)", requirement.strip()).groups()
    return re.sub(r"[-_.]+", "-", name).lower(), limits


def test_base_installation_is_lean() -> None:
    base = [name_and_limits(line) for line in PYPROJECT["project"]["dependencies"]]
    assert not {name for name, _ in base} & set(HEAVY)
    assert not [line for line in PYPROJECT["project"]["dependencies"] if "distributed" in line]


def test_conda_environment_has_the_same_limits() -> None:
    """Every dependency of the base and of ``fast`` and ``plots``, under the names of conda-forge, and nothing else."""
    conda = {"dask-core": "dask", "matplotlib-base": "matplotlib"}
    file = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    given = [name_and_limits(line) for line in file["dependencies"] if isinstance(line, str)]
    assert file["dependencies"][-1] == {"pip": ["."]}
    project = PYPROJECT["project"]
    extras = project["optional-dependencies"]
    wanted = map(name_and_limits, [*project["dependencies"], *extras["fast"], *extras["plots"]])
    python = ("python", f"={project['requires-python'].removeprefix('>=')}")
    assert sorted((conda.get(name, name), limits) for name, limits in given) == sorted([*wanted, python, ("pip", "")])


def test_image_is_built_from_the_package_alone_and_runs_without_privileges() -> None:
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    steps = [line for line in lines if re.match(r"[A-Z]+ ", line)]
    assert [step for step in steps if step.startswith("FROM")][-1] == "FROM python:3.11-slim"
    assert steps.index("USER fusion") < steps.index('ENTRYPOINT ["ndvi-fusion"]')
    assert set(PYPROJECT["project"]["scripts"]) == {"ndvi-fusion"}
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    kept = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    project, mapped = PYPROJECT["project"], SETUPTOOLS["package-dir"]
    folders = {mapped.get(name, name.split(".")[0]) for name in SETUPTOOLS["packages"]}
    files = {project["readme"], *project["license-files"], "pyproject.toml", "constraints.txt"}
    assert ignored[0] == "*" and kept == folders | files and all((ROOT / name).exists() for name in kept)


def test_python_of_image_and_conda_is_the_one_that_the_package_names() -> None:
    """The oldest that `requires-python` allows, which the classifiers name and mypy checks."""
    oldest = PYPROJECT["project"]["requires-python"].removeprefix(">=")
    assert f"Programming Language :: Python :: {oldest}" in PYPROJECT["project"]["classifiers"]
    assert PYPROJECT["tool"]["mypy"]["python_version"] == oldest
    image = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert set(re.findall(r"^FROM (\S+)", image, re.MULTILINE)) == {f"python:{oldest}-slim"}


@pytest.mark.parametrize("extras, ending", [(None, "[fast,plots]"), ("stac", "[stac]"), ("", "")])
def test_what_the_image_installs(extras: str | None, ending: str, tmp_path: Path) -> None:
    """The shell words of the last step, in a folder with a wheel; every extra that the file names exists."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    known = set(PYPROJECT["project"]["optional-dependencies"])
    named = [name for names in re.findall(r"EXTRAS=([\w,]+)", text) for name in names.split(",")]
    assert named and set(named) <= known
    (tmp_path / "ndvi_fusion-1-py3-none-any.whl").touch()
    (words,) = re.findall(r'--constraint /wheels/constraints.txt ("\$\(ls .*")', text)
    default = re.search(r"^ARG EXTRAS=(\S+)", text, re.MULTILINE)
    assert default is not None
    given = {"EXTRAS": default[1] if extras is None else extras, "PATH": os.environ["PATH"]}
    shell = ["sh", "-c", f"printf %s {words.replace('/wheels', str(tmp_path))}"]
    done = subprocess.run(shell, env=given, capture_output=True, text=True, check=True)
    assert done.stdout == f"{tmp_path}/ndvi_fusion-1-py3-none-any.whl{ending}"


def test_constraints_fit_the_project() -> None:
    """Every requirement of every extra has a pinned version, which its limits allow."""
    from packaging.requirements import Requirement

    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))
    pins = {name_and_limits(name)[0]: version for name, version in pins.items()}
    extras = PYPROJECT["project"]["optional-dependencies"]
    wanted = [*PYPROJECT["project"]["dependencies"], *(line for lines in extras.values() for line in lines)]
    for requirement in map(Requirement, wanted):
        name = name_and_limits(requirement.name)[0]
        if name != PYPROJECT["project"]["name"]:
            assert pins.get(name) is not None, f"{name} has no version in constraints.txt; make constraints"
            assert requirement.specifier.contains(pins[name]), f"{requirement} does not allow {pins[name]}"


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
    (metadata,) = [name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".dist-info/METADATA")]
    text = zipfile.ZipFile(wheel).read(metadata).decode()
    needed = re.findall(r"^Requires-Dist: ([^;\n]+)$", text, re.MULTILINE)  # without a condition: of no extra
    assert len(needed) == len(PYPROJECT["project"]["dependencies"])
    assert not {name_and_limits(requirement)[0] for requirement in needed} & set(HEAVY)
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
    heavy = {name.replace("-", "_") for name in HEAVY}
    code = f"import sys, fusion; fusion.fuse, fusion.seasons; sys.exit(', '.join({heavy} & set(sys.modules)) or 0)"
    again = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    found = yaml.safe_load(done.stdout)
    assert (found["step_days"], found["target"]["name"]) == (5, "cdse")
