"""One self-contained HTML page: text, tables, and pictures as data URIs; no external resources."""

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from fusion.whole_file import whole_file

Cell = str | int | float | None


@dataclass
class Report:
    """A page built section by section; all text is escaped, and text in backquotes is set as code."""

    title: str
    summary: str
    note: str = ""
    _parts: list[str] = field(default_factory=list)
    _sections: int = 0

    def section(self, title: str, *paragraphs: str) -> None:
        """Add a numbered heading and its paragraphs."""
        self._sections += 1
        self._parts.append(f'<h2><span class="number">{self._sections}</span>{_text(title)}</h2>')
        self.text(*paragraphs)

    def text(self, *paragraphs: str) -> None:
        """Add paragraphs."""
        self._parts += [f"<p>{_text(p)}</p>" for p in paragraphs]

    def cards(self, facts: Sequence[tuple[str, str]]) -> None:
        """Add the key figures in large type: ``(figure, label)``."""
        items = "".join(f"<li><b>{_text(value)}</b><span>{_text(label)}</span></li>" for value, label in facts)
        self._parts.append(f'<ul class="cards">{items}</ul>')

    def picture(self, data: bytes, alt: str, caption: str) -> None:
        """Add a PNG or GIF with its caption."""
        kind = "gif" if data[:3] == b"GIF" else "png"
        source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
        self._parts.append(
            f'<figure><img src="{source}" alt="{html.escape(alt, quote=True)}">'
            f"<figcaption>{_text(caption)}</figcaption></figure>"
        )

    def table(
        self, header: Sequence[str], rows: Sequence[Sequence[Cell]], *, caption: str = "", digits: int = 3,
        best: str | None = None,
    ) -> None:  # fmt: skip
        """Add a table; ``best="min"`` marks the smallest number of every column."""
        least: dict[int, float] = {}
        if best == "min":
            for column in range(1, len(header)):
                numbers = [row[column] for row in rows if isinstance(row[column], int | float)]
                if numbers:
                    least[column] = min(numbers)  # type: ignore[type-var, assignment]
        words = [any(isinstance(row[k], str) for row in rows) for k in range(len(header))]
        kinds = [' class="text"' if word else "" for word in words]
        head = "".join(f'<th scope="col"{kind}>{_text(h)}</th>' for h, kind in zip(header, kinds, strict=True))
        body = "".join(
            "<tr>"
            + "".join(_cell(value, digits, least.get(k) == value and k in least) for k, value in enumerate(row))
            + "</tr>"
            for row in rows
        )
        title = f"<caption>{_text(caption)}</caption>" if caption else ""
        self._parts.append(
            f'<div class="table"><table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        )

    def html(self, footer: str = "") -> str:
        """HTML of the whole page."""
        style = resources.files("fusion.demo").joinpath("report.css").read_text(encoding="utf-8")
        note = f'<div class="note">{_text(self.note)}</div>' if self.note else ""
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{html.escape(self.title)}</title><style>{style}</style></head><body>"
            f"<header><div><h1>{_text(self.title)}</h1><p>{_text(self.summary)}</p></div></header><main>{note}"
            + "\n".join(self._parts)
            + f"<footer>{_text(footer)}</footer></main></body></html>\n"
        )

    def write(self, path: Path, footer: str = "") -> Path:
        """Write the page; on an error no partial file is left."""
        with whole_file(path) as partial:
            partial.write_text(self.html(footer), encoding="utf-8")
        return path


def _cell(value: Cell, digits: int, best: bool) -> str:
    if isinstance(value, str):
        return f'<td class="text">{_text(value)}</td>'
    if value is None or value != value:
        return "<td>–</td>"
    shown = f"{value:,}" if isinstance(value, int) else decimal(value, digits)
    return f'<td class="best">{shown}</td>' if best else f"<td>{shown}</td>"


def decimal(value: float, digits: int) -> str:
    """A number with fixed digits; one that they would show as 0 is stated as below the last of them."""
    if value and abs(value) < 0.5 * 10**-digits:
        return f"below {10**-digits:.{digits}f}"
    return f"{value:.{digits}f}"


def _text(text: str) -> str:
    parts = html.escape(text, quote=False).split("`")
    if len(parts) % 2 == 0:  # an unpaired backquote is an ordinary character
        return "`".join(parts)
    return "".join(f"<code>{p}</code>" if k % 2 else p for k, p in enumerate(parts))
