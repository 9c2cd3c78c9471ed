"""The documentation site: it builds without a warning, holds every page, and fetches nothing from another host."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# links that a reader may follow are fine; what a page loads by itself is not
LOADED = re.compile(r"""<(?:script|img|iframe|link)\b[^>]*?(?:src|href)=["'](https?://[^"']+)""")
LINK_THAT_LOADS_NOTHING = re.compile(r"""<link\b[^>]*rel=["'](?:canonical|prev|next|edit)["']""")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    missing = [name for name in ("mkdocs", "material", "mkdocstrings") if importlib.util.find_spec(name) is None]
    assert not missing, f"{missing} not installed; the extra 'docs' holds them (part of 'dev', so of `make install`)"
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def test_every_page_is_built(site: Path) -> None:
    for page in (ROOT / "docs").rglob("*.md"):
        assert (site / page.relative_to(ROOT / "docs").with_suffix(".html")).is_file(), page


@pytest.mark.parametrize(
    ("page", "name"),
    [
        ("fusion", "fusion.api.fuse"),
        ("fusion", "fusion.inference.suspect.suspect_observations"),
        ("phenology", "fusion.phenology.seasons.seasons"),
        ("phenology", "fusion.phenology.smoothing.smooth"),
        ("phenology", "fusion.phenology.plots.plot_seasons"),
        ("data_prep", "data_prep.cube.build_cube"),
        ("contract", "fusion.contract.check_cube"),
    ],
)
def test_public_calls_have_a_reference(site: Path, page: str, name: str) -> None:
    text = (site / "api" / f"{page}.html").read_text(encoding="utf-8")
    assert f'id="{name}"' in text
    assert "Raises" in text


def test_every_name_that_fusion_exports_is_in_the_reference() -> None:
    import fusion

    reference = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "docs" / "api").glob("*.md"))
    for name in fusion.__all__:
        module = getattr(fusion, name).__module__
        assert f"::: {module}.{name}\n" in reference, name


def test_pages_load_nothing_from_another_host(site: Path) -> None:
    wrong = []
    for page in site.rglob("*.html"):
        for match in LOADED.finditer(page.read_text(encoding="utf-8")):
            if not LINK_THAT_LOADS_NOTHING.match(match.group(0)):
                wrong.append(f"{page.relative_to(site)}: {match.group(1)}")
    assert not wrong
