"""The outputs of an evaluation: tables for the terminal, ``scores.json``, CSV files and figures."""

import logging
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table

from fusion.evaluation import plots
from fusion.evaluation.gallery import Gallery
from fusion.whole_file import whole_file, write_json

log = logging.getLogger(__name__)
RESULTS = ("tables/*.csv", "rows/*.csv", "figures/*.png", "figures/*.pdf", "figures/*.svg")


@dataclass
class Evaluation:
    """Results of an evaluation.

    ``kind`` is ``real`` or ``simulated``; ``tables`` are those of the report, ``rows`` the sums they are computed from,
    ``facts`` further entries of ``scores.json``.
    """

    kind: str
    tables: dict[str, pd.DataFrame]
    rows: dict[str, pd.DataFrame]
    predictors: list[str]
    facts: dict[str, Any] = field(default_factory=dict)
    gallery: Gallery = field(default_factory=Gallery)

    @property
    def main(self) -> tuple[str, str]:
        """Name of the table by gap, and its gap column."""
        return ("by_gap", "gap_days") if self.kind == "real" else ("by_bin", "bin")


def write_report(evaluation: Evaluation, out: Path, *, figures: bool = True, figure_format: str = "png") -> list[Path]:
    """Write all outputs to folder ``out``, each file atomically; returns the paths of the files.

    Tables and figures that an earlier evaluation left there, and this one does not have, are removed.
    """
    files = [write_json(out / "scores.json", scores(evaluation))]
    for name, table in evaluation.tables.items():
        files.append(write_csv(table, out / "tables" / f"{name}.csv"))
    for name, table in evaluation.rows.items():
        files.append(write_csv(table, out / "rows" / f"{name}.csv"))
    if figures:
        files += write_figures(evaluation, out / "figures", figure_format)
    for earlier in {path for pattern in RESULTS for path in out.glob(pattern)} - set(files):
        earlier.unlink()
    return files


def scores(evaluation: Evaluation) -> dict[str, Any]:
    """All tables and facts as plain values for JSON; NaN becomes null."""
    tables = {name: plain(table.to_dict(orient="records")) for name, table in evaluation.tables.items()}
    head = {"kind": evaluation.kind, "predictors": evaluation.predictors}
    return {**head, **plain(evaluation.facts), "tables": tables}


def plain(value: Any) -> Any:
    """Convert to types that JSON can represent; NaN and infinity become None."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(item) for item in value]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value if value is None else str(value)


def write_csv(table: pd.DataFrame, path: Path) -> Path:
    """Write a table as CSV with six significant digits."""
    with whole_file(path) as partial:
        table.to_csv(partial, index=False, float_format="%.6g")
    return path


def write_figures(evaluation: Evaluation, folder: Path, figure_format: str = "png") -> list[Path]:
    """Draw and write all figures for which there is a table; returns their paths."""
    tables, names, gallery = evaluation.tables, evaluation.predictors, evaluation.gallery
    main, group = evaluation.main
    drawn: dict[str, Any] = {}
    if main in tables:
        label = "withheld days on each side" if group == "gap_days" else "days to the nearest visible observation"
        drawn["mae_by_gap"] = plots.plot_mae(tables[main], group, label, names)
        for name in names:
            rows = tables[main][tables[main].predictor == name]
            if rows.coverage_90.notna().any():
                drawn[f"reliability_{slug(name)}"] = plots.plot_reliability(rows, group, name)
    if "by_season" in tables:
        drawn["mae_by_season"] = plots.plot_seasons(tables["by_season"], names)
    if gallery.density:
        drawn["density"] = plots.plot_density(gallery.density, names)
    if gallery.series_days is not None:
        drawn["example_series"] = plots.plot_series(gallery, names)
        drawn["example_images"] = plots.plot_frames(gallery, names)
    if "lags" in tables:
        drawn["mae_by_lag"] = plots.plot_lags(tables["lags"], names)
    if "season_dates" in tables:
        drawn["season_dates"] = plots.plot_season_dates(tables["season_dates"], names)
    return [plots.save(figure, folder, name, figure_format) for name, figure in drawn.items()]


def slug(name: str) -> str:
    """The name of a predictor as part of a file name."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def show(evaluation: Evaluation) -> Group:
    """The main tables, for the terminal."""
    main, group = evaluation.main
    tables = evaluation.tables
    parts: list[Any] = []
    if main in tables:
        unit = "dates" if evaluation.kind == "real" else "scenes"
        label = "withheld days on each side" if group == "gap_days" else "days to the nearest visible observation"
        title = f"MAE by {label}; bootstrap interval over {unit}"
        parts.append(pivot(tables[main], group, "mae", title, interval=True))
        if tables[main].coverage_90.notna().any():
            parts.append(pivot(tables[main], group, "coverage_90", "coverage of the 90 % interval (%)", digits=1))
        parts.append(pivot(tables[main], group, "bias", "bias (prediction minus reference)"))
    if "by_season" in tables:
        parts.append(pivot(tables["by_season"], "season", "mae", "MAE by season"))
    if "season_dates" in tables:
        for event, rows in tables["season_dates"].groupby("event", sort=False):
            parts.append(pivot(rows, "gap_days", "rmse_days", f"{event} RMSE (days) by gap around the event", digits=1))
            title = f"{event} median absolute error (days)"
            parts.append(pivot(rows, "gap_days", "median_absolute_days", title, digits=1))
            title = f"{event} RMSE relative to the observations without fusion, where both found the season"
            parts.append(pivot(rows, "gap_days", "observations_rmse_ratio", title, digits=2))
    if "images" in tables:
        parts.append(flat(tables["images"], "images"))
    if "lags" in tables:
        lags = tables["lags"].assign(lag=[("hindcast" if np.isnan(x) else int(x)) for x in tables["lags"].lag_days])
        parts.append(pivot(lags, "lag", "mae", "MAE by lag in days (near real time)", digits=3))
    return Group(*parts)


def new_table(title: str) -> Table:
    """An empty table in this report's style, narrow enough for a terminal of 80 columns."""
    return Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False)


def pivot(
    table: pd.DataFrame, column: str, value: str, title: str, *, digits: int = 4, interval: bool = False
) -> Table:
    """Table with predictors as rows and groups as columns; the lowest MAE of a column is highlighted."""
    groups = list(dict.fromkeys(table[column]))
    shown = new_table(title)
    shown.add_column("", no_wrap=True)
    for group in groups:
        shown.add_column(str(group), justify="right", no_wrap=True)
    best = table.groupby(column)[value].min() if value == "mae" else {}
    for name in dict.fromkeys(table.predictor):
        cells = []
        for group in groups:
            row = table[(table.predictor == name) & (table[column] == group)]
            cells.append(cell(row, value, digits, interval, best.get(group)) if len(row) else "")
        shown.add_row(name, *cells)
    return shown


def cell(row: pd.DataFrame, value: str, digits: int, interval: bool, best: float | None) -> str:
    """Text of one number, with its interval on a second line if ``interval`` is set."""
    number = float(row[value].iloc[0])
    if np.isnan(number):
        return "-"
    text = f"{number:.{digits}f}"
    if best is not None and number == best:
        text = f"[bold green]{text}[/]"
    if interval:
        low, high = (f"{row[end].iloc[0]:.3f}".removeprefix("0") for end in ("mae_low", "mae_high"))
        text += f"\n[dim]{low}-{high}[/]"
    return text


def flat(table: pd.DataFrame, title: str) -> Table:
    """A small table for the terminal, all columns unchanged."""
    shown = new_table(title)
    for column in table.columns:
        number = pd.api.types.is_numeric_dtype(table[column]) and table[column].dtype != bool
        shown.add_column(str(column), justify="right" if number else "left")
    for _, row in table.iterrows():
        shown.add_row(*[f"{v:.4g}" if isinstance(v, float) else str(v) for v in row])
    return shown
