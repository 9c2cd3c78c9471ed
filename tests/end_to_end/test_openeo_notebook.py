"""The notebook: runs from its first to its last cell, offline, also on another cube; stored with small outputs."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.factory import mock_cube, write_cube

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "data_fusion.ipynb"
PUBLIC = ("data_prep.cube", "fusion.data.cube_files", "fusion.phenology.plots", "udf.local_backend")


def run(folder: Path, monkeypatch: pytest.MonkeyPatch, source: str | None = None) -> tuple[str, int]:
    """Execute the notebook in ``folder``, with another first cell if ``source`` is given; its text and pictures."""
    monkeypatch.setenv("NDVI_FUSION_NOTEBOOK_PX", "48")
    monkeypatch.delenv("MPLBACKEND", raising=False)  # the kernel's own backend puts figures into the notebook
    monkeypatch.setenv("PYTHONPATH", str(NOTEBOOK.parents[1]))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    if source is not None:
        settings = next(cell for cell in notebook.cells if cell.cell_type == "code")
        settings.source = re.sub(r"^SOURCE = None.*$", f"SOURCE = {source!r}", settings.source, flags=re.MULTILINE)
    NotebookClient(
        notebook, timeout=900, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    outputs = [o for cell in notebook.cells if cell.cell_type == "code" for o in cell.outputs]
    return "".join(o.get("text", "") for o in outputs), sum("image/png" in o.get("data", {}) for o in outputs)


def test_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, pictures = run(tmp_path, monkeypatch)
    assert "gives the same within 0.0001 NDVI: True" in text
    assert "simulated scene, mean absolute error: fused" in text
    assert pictures == 7


@pytest.mark.slow
def test_notebook_runs_on_a_cube_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cube = mock_cube(t=100, y=20, x=24, start="2018-09-01", radar=False, coarse=False, cloud=0.3)
    write_cube(tmp_path / "mine.nc", cube)
    text, pictures = run(tmp_path, monkeypatch, source="mine.nc")
    assert "gives the same within 0.0001 NDVI: True" in text and "simulated" not in text
    assert "MAE by withheld days" in text and pictures == 7


def test_notebook_is_stored_with_small_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [o for cell in code for o in cell.outputs]
    assert all(o.output_type != "error" and o.get("name") != "stderr" for o in outputs)
    assert sum("image/png" in o.get("data", {}) for o in outputs) == 7
    assert NOTEBOOK.stat().st_size < 400_000
    assert "SOURCE = None" in code[0].source and "EVI" in notebook.cells[3].source


def test_notebook_imports_public_names_only() -> None:
    code = "\n".join(c.source for c in nbformat.read(NOTEBOOK, as_version=4).cells if c.cell_type == "code")
    imported = re.findall(r"^\s*(?:from|import) ((?:fusion|data_prep|udf)[\w.]*)", code, re.MULTILINE)
    assert set(imported) == {"fusion", *PUBLIC}
    index = (NOTEBOOK.parents[1] / "docs" / "api" / "index.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in index for name in PUBLIC)
