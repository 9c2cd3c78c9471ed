"""Location of the YAML configuration: ``configs/`` of a checkout, ``fusion/configs`` of an installed package."""

from pathlib import Path


def config_folder() -> Path:
    """The folder of the YAML files that belong to this copy of the package; no other ``configs`` folder is used."""
    package = Path(__file__).resolve().parent
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"
