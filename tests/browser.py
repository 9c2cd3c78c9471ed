"""A headless browser for tests of pages: no page may load anything from another host."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
PICTURES = Path(__file__).parents[1] / "docs" / "pictures"


@contextmanager
def page_in_browser(width: int, height: int) -> Iterator[tuple[Any, list[str]]]:
    """A page, and the list of errors and of requests to other hosts, which stays empty where all is well."""
    api = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
    browser = next((path for name in NAMES if (path := shutil.which(name))), None)
    if browser is None:
        pytest.skip(f"needs a browser: none of {', '.join(NAMES)} is installed")
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, headless=True, args=list(OPTIONS))
        page = chromium.new_page(viewport={"width": width, "height": height})
        faults: list[str] = []
        page.on("request", lambda request: None if _local(request.url) else faults.append(f"asks {request.url}"))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda line: faults.append(line.text) if line.type == "error" else None)
        try:
            yield page, faults
        finally:
            chromium.close()


def _local(url: str) -> bool:
    return urlparse(url).scheme in ("data", "blob", "file") or urlparse(url).hostname in ("127.0.0.1", "localhost")


def keep_picture(page: Any, name: str, folder: Path, *, wanted: bool, **clip: Any) -> Path:
    """A screenshot of few colours: in docs/pictures if ``wanted``, else in ``folder``."""
    from PIL import Image

    raw = folder / f"{name}_raw.png"
    page.screenshot(path=raw, **clip)
    file = (PICTURES if wanted else folder) / f"{name}.png"
    Image.open(raw).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(file, optimize=True)
    return file
