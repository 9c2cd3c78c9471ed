"""``ndvi-fusion package``: all files for an openEO back-end, in one folder."""

import logging
import shutil
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from fusion.inference.locate import locate_model
from fusion.whole_file import whole_file, whole_set
from udf.archive import DEPS_ARCHIVE, write_dependency_archive, write_model_archive, write_sums
from udf.bundle import DIST, ENTRIES
from udf.context_schema import SCHEMA_FILE, schema_text

_log = logging.getLogger(__name__)


class PackageSettings(BaseModel):
    """``ndvi-fusion package``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    out: Path = Field(description="folder to write")
    model: str | None = Field(
        None, description="model folder, .onnx, .zip, run:ID or registry name; null: the shipped one"
    )
    dependencies: bool = Field(
        True, description="also write the onnxruntime archive; pip downloads its wheels (about 14 MB)"
    )
    onnxruntime: str = Field("1.20.1", pattern=r"^\d+(\.\d+)+$", description="onnxruntime version of that archive")
    wheels: Path | None = Field(None, description="folder of wheels to use instead of downloading")


def run(settings: PackageSettings) -> str:
    """Write archives, UDF files, context schema and SHA256SUMS; returns a line for the terminal."""
    with whole_set(settings.out, [DEPS_ARCHIVE]) as folder:
        files = write_files(settings, folder)
        sums = write_sums(folder, files)
        total = sum(f.stat().st_size for f in files) / 1e6
    return f"{settings.out}: {len(files)} files, {total:.1f} MB; hashes in {sums.name}"


def write_files(settings: PackageSettings, out: Path) -> list[Path]:
    """Write all files but ``SHA256SUMS`` into ``out``."""
    files = [write_model_archive(locate_model(settings.model), out)]
    if settings.dependencies:
        files.append(write_dependency_archive(out, settings.onnxruntime, settings.wheels))
    for entry in ENTRIES:
        target = out / f"{entry}.py"
        with whole_file(target) as partial:
            shutil.copyfile(DIST / f"{entry}.py", partial)
        files.append(target)
    schema = out / SCHEMA_FILE
    with whole_file(schema) as partial:
        partial.write_text(schema_text(), encoding="utf-8", newline="\n")
    files.append(schema)
    return files
