"""Long tables of points and fields as patches of 1 x 1 pixels: one row per sample and date, as Earth Engine exports."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from data_prep.raw.cubes import SourceError
from data_prep.settings import TablePatches
from data_prep.split import SplitSettings, split_of_group
from fusion.contract import NDVI_MAX, NDVI_MIN, ContractError
from fusion.data.patch import Patch
from fusion.features.measured import measured_radar
from fusion.features.observations import Observations, to_db

MILLISECONDS_FROM = 1e10  # a number above is a time in milliseconds since 1970, as in Earth Engine's system:time_start


@dataclass(frozen=True)
class TableTask:
    """One table."""

    source: TablePatches
    size: int
    modified_ns: int

    @property
    def name(self) -> str:
        return clean_name(self.source.name or self.source.table.stem)

    @property
    def identity(self) -> str:
        """Hash of settings, size and modification time."""
        settings = self.source.model_dump_json(exclude={"table"})
        parts = (self.source.table.name, settings, str(self.size), str(self.modified_ns))
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def table_task(source: TablePatches) -> TableTask:
    """The task of a source.

    Raises
    ------
    SourceError
        The file is missing.
    """
    if not source.table.is_file():
        raise SourceError(f"source.table: there is no file {source.table}; check the path")
    stat = source.table.stat()
    return TableTask(source, stat.st_size, stat.st_mtime_ns)


def clean_name(name: str) -> str:
    """A name as a patch key may hold it; a hash is added where letters had to be replaced."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", name)[:120]
    plain = plain if re.match(r"[A-Za-z0-9]", plain) else f"s{plain}"
    return plain if plain == name else f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def table_patches(task: TableTask, min_observations: int, split: SplitSettings) -> Iterator[Patch | str]:
    """Yield one patch for each sample of a table; a string with the reason where there are too few observations."""
    source = task.source
    table = read_table(source)
    for sample, rows in table.groupby("sample", sort=True):
        obs = series_of(rows, source.shift_days)
        if len(obs.s2_days) < min_observations:
            yield f"too few observations (<{min_observations})"
            continue
        group = str(rows.group.iloc[0])
        dates = [str(np.datetime64(int(day), "D")) for day in (obs.s2_days[0], obs.s2_days[-1])]
        place = {n: round(float(rows[n].median()), 6) for n in ("lat", "lon") if n in rows and rows[n].notna().any()}
        yield Patch(
            observations=obs,
            split=split_of_group(task.name, group, split),
            site=f"{task.name}:{group}",
            year=int(dates[0][:4]),
            key=f"{task.name}_{clean_name(str(sample))}",
            extra={"source": source.table.name, "sample": str(sample), "first": dates[0], "last": dates[1], **place},
        )


def read_table(source: TablePatches) -> pd.DataFrame:
    """The table with the columns sample, group, date, ndvi and, where present, vv, vh, lat and lon.

    NDVI is empty where an observation is not clear or outside -0.2 to 1.

    Raises
    ------
    SourceError
        A column is missing, a date is unreadable, an expression fails, or a group pattern matches nothing.
    """
    path, names = source.table, source.columns
    raw = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, dtype={names.sample: str})
    needed = [names.sample, names.date, names.ndvi, *([source.group] if source.group else [])]
    if missing := [name for name in needed if name not in raw]:
        raise SourceError(
            f"{path} has no column {', '.join(missing)} (it has {', '.join(map(str, raw.columns))}); "
            "name the columns in source.columns, the unit of the split in source.group"
        )
    if (names.vv in raw) != (names.vh in raw):
        there, gone = (names.vv, names.vh) if names.vv in raw else (names.vh, names.vv)
        raise SourceError(f"{path} has {there} but no {gone}; give both or neither in source.columns.vv and vh")
    raw = raw.dropna(subset=[names.sample, names.date]).reset_index(drop=True)
    raw[names.date] = _dates(raw[names.date], path)
    sample = raw[names.sample].astype(str)
    ndvi = pd.to_numeric(raw[names.ndvi], errors="coerce")
    clear = _clear(raw, source) & ndvi.between(NDVI_MIN, NDVI_MAX)
    out: dict[str, Any] = {
        "sample": sample,
        "group": _groups(raw, sample, source),
        "date": raw[names.date],
        "ndvi": ndvi.where(clear),
    }
    for column in ("vv", "vh", "lat", "lon"):
        if (name := getattr(names, column)) in raw:
            out[column] = pd.to_numeric(raw[name], errors="coerce")
    try:
        for name in {"vv", "vh"} & set(out):
            power = measured_radar(out[name].to_numpy(np.float32), source.s1_units, name.upper())
            out[name] = to_db(power, source.s1_units)
    except ContractError as error:
        raise SourceError(f"{path}: {error} (here: source.s1_units)") from error
    table = pd.DataFrame(out)
    split = table.groupby("sample").group.nunique()
    if (split > 1).any():
        raise SourceError(f"{path}: sample {split.idxmax()} belongs to {split.max()} groups; it must belong to one")
    return table


def _dates(column: pd.Series, path: Path) -> pd.Series:
    numbers = pd.api.types.is_numeric_dtype(column)
    if numbers and float(column.min()) < MILLISECONDS_FROM:
        raise SourceError(f"{path} has dates such as {column.iloc[0]}; expected 2021-05-30 or milliseconds since 1970")
    try:
        if numbers:
            return pd.to_datetime(column, unit="ms")
        return pd.to_datetime(column, utc=True, format="ISO8601").dt.tz_localize(None)
    except (ValueError, TypeError) as error:
        raise SourceError(f"{path} has an unreadable date ({error}); expected dates such as 2021-05-30") from error


def _clear(raw: pd.DataFrame, source: TablePatches) -> pd.Series:
    if source.where is None:
        return pd.Series(True, raw.index)
    try:
        found = raw.eval(source.where, engine="python")
    except Exception as error:  # pandas raises many kinds for a bad expression
        raise SourceError(f"source.where={source.where!r} fails on {source.table} ({error}); correct it") from error
    if not isinstance(found, pd.Series) or found.dtype != bool:
        raise SourceError(f"source.where={source.where!r} is no condition; expected one such as red < 0.3")
    return found


def _groups(raw: pd.DataFrame, sample: pd.Series, source: TablePatches) -> pd.Series:
    if source.group is not None:
        return raw[source.group].astype(str)
    if source.group_pattern is None:
        return sample
    found = sample.str.extract(f"({source.group_pattern})", expand=True)[0]
    if found.isna().any():
        raise SourceError(
            f"source.group_pattern={source.group_pattern!r} does not match sample {sample[found.isna()].iloc[0]!r}; "
            "correct the expression"
        )
    return found


def series_of(rows: pd.DataFrame, shift_days: int = 0) -> Observations:
    """The observations of one sample as an area of one pixel; values of one day are averaged."""
    days = rows.date.to_numpy("datetime64[D]").astype(np.int64) + shift_days
    ndvi_days, ndvi = _daily_mean(days, rows.ndvi.to_numpy(np.float64)[:, None])
    radar = np.full((len(rows), 2), np.nan)
    if "vv" in rows:
        radar = rows[["vv", "vh"]].to_numpy(np.float64)
    radar_days, radar = _daily_mean(days, radar)
    none = np.zeros((0, 1, 1), np.float32)
    latitude = float(rows.lat.median()) if "lat" in rows and rows.lat.notna().any() else None
    return Observations(
        ndvi_days, _images(ndvi[:, 0]), radar_days, _images(radar[:, 0]), _images(radar[:, 1]),
        np.zeros(0, np.int64), none, latitude,
    )  # fmt: skip


def _images(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32)[:, None, None]


def _daily_mean(days: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means (m, n) of the complete rows of ``values`` on each of the m days that have one."""
    complete = np.isfinite(values).all(axis=1)
    unique, inverse = np.unique(days[complete], return_inverse=True)
    sums = np.zeros((len(unique), values.shape[1]))
    np.add.at(sums, inverse, values[complete])
    return unique.astype(np.int64), sums / np.bincount(inverse, minlength=len(unique))[:, None]
