"""``ndvi-fusion export``: checkpoint -> one ONNX file with its manifest."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class ExportSettings(BaseModel):
    """``ndvi-fusion export``."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    checkpoint: Path = Field(description="generator.pt of a training run")
    out: Path = Field(description="model folder to write (model.onnx and manifest.json)")


def run(settings: ExportSettings) -> str:
    """Export; returns a line for the terminal."""
    from fusion.inference.manifest import MODEL_FILE
    from fusion.training.checkpoint import load_weights
    from fusion.training.export import PARITY, export_generator

    folder = export_generator(load_weights(settings.checkpoint), settings.out)
    size = (folder / MODEL_FILE).stat().st_size
    return f"{folder / MODEL_FILE}: {size / 1024:.0f} KiB, parity with torch within {PARITY:g}"
