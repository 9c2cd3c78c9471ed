"""openEO back-ends as a source: one batch job per sensor and area, run by the job manager of the openEO client.

The state is kept in one folder: ``jobs.csv`` (of the job manager), and ``<area>/<sensor>/`` with results and job
metadata, which appears only when complete. A repeated run resumes: downloads are kept, running jobs are waited for,
failed jobs are restarted. The openEO client handles the login; this module never handles credentials.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from data_prep.raw.bands import probe
from data_prep.raw.cubes import RawCubes, SourceError
from data_prep.raw.folders import find_files
from data_prep.raw.reading import read_bands
from data_prep.sources.openeo_graphs import Sensor, download_graph
from data_prep.sources.settings import DownloadedArea, FilesSource, OpenEOSource, S1Units
from fusion.whole_file import whole_file, write_json
from udf.targets import load_target

log = logging.getLogger(__name__)

_FAILED = ("error", "canceled", "start_failed", "queued_for_start_failed", "skipped")


def fetch(settings: OpenEOSource, connect: Callable[[], Any] | None = None) -> dict[tuple[str, str], str]:
    """Run the missing jobs and download their results; returns (area, sensor) -> reason of each failure.

    ``connect`` replaces the connection to the back-end, for tests.

    Raises
    ------
    SourceError
        No connection, no valid login, or any failed job with ``on_error="stop"``; finished downloads are kept.
    """
    wanted = [(a, s) for a in settings.areas for s in settings.sensors if not (settings.folder / a / s).is_dir()]
    if not wanted:
        return {}
    settings.folder.mkdir(parents=True, exist_ok=True)
    connection = (connect or (lambda: _connect(settings)))()
    manager = _manager(settings, connection)
    database = _database(settings, wanted)
    _fetch_finished(settings, connection, database, manager)
    try:
        manager.run_jobs(start_job=manager.create, job_db=database)
    except SourceError:
        raise
    except Exception as error:
        raise SourceError(
            f"the jobs at {connection.root_url} were interrupted ({type(error).__name__}: {error}); run again to resume"
        ) from error
    problems = dict(manager.problems)
    for area, sensor in wanted:
        if not (settings.folder / area / sensor).is_dir():
            problems.setdefault((area, sensor), "no result was downloaded; run again to resume")
    for (area, sensor), problem in problems.items():
        log.warning("%s %s: %s", area, sensor, problem)
    if problems and settings.on_error == "stop":
        (area, sensor), problem = next(iter(problems.items()))
        raise SourceError(
            f"{len(problems)} of {len(wanted)} jobs failed; first: {area} {sensor}: {problem}; "
            "run again to retry, or set source.on_error=skip"
        )
    return problems


def _connect(settings: OpenEOSource) -> Any:
    import openeo

    url = settings.url or load_target(settings.backend).connection
    try:
        connection = openeo.connect(url)
        if settings.login == "oidc":
            connection.authenticate_oidc()
    except Exception as error:
        raise SourceError(
            f"cannot connect or log in to {url} ({type(error).__name__}: {error}); check the network and log in with "
            f"`openeo-auth oidc-auth {url}`"
        ) from error
    return connection


def _database(settings: OpenEOSource, wanted: list[tuple[str, Sensor]]) -> Any:
    """Table of the job manager; failed jobs and new sensors are set to start."""
    import pandas as pd
    from openeo.extra.job_management import CsvJobDatabase

    path = settings.folder / "jobs.csv"
    database = CsvJobDatabase(path)
    if not path.exists():
        frame = pd.DataFrame(wanted, columns=["area", "sensor"])
        database.initialize_from_df(frame)
        return database
    try:
        known = database.read()
    except Exception as error:  # table truncated by a full disk or an interruption; downloads do not depend on it
        path.replace(path.with_name("jobs.csv.damaged"))
        log.warning("%s cannot be read (%s); renamed to jobs.csv.damaged, jobs are started again", path, error)
        return _database(settings, wanted)
    rows = list(zip(known.area, known.sensor, strict=True))
    again = known.status.isin(_FAILED) & pd.Series([row in wanted for row in rows], index=known.index, dtype=bool)
    known.loc[again, "status"] = "not_started"
    new = pd.DataFrame([w for w in wanted if w not in set(rows)], columns=["area", "sensor"])
    if len(new) or again.any():
        frame = pd.concat([known, new.assign(status="not_started")], ignore_index=True) if len(new) else known
        with whole_file(path) as partial:
            frame.to_csv(partial, index=False)
    return CsvJobDatabase(path)


def _fetch_finished(settings: OpenEOSource, connection: Any, database: Any, manager: Any) -> None:
    """Download results of jobs that finished on the back-end after the last run was interrupted."""
    finished = database.get_by_status(statuses=["finished"])
    for _, row in finished.iterrows():
        if not (settings.folder / str(row["area"]) / str(row["sensor"])).is_dir() and row["area"] in settings.areas:
            manager.on_job_done(connection.job(row["id"]), row)


def _manager(settings: OpenEOSource, connection: Any) -> Any:
    """Job manager of the openEO client with the download graphs, the download rule and a check of the login."""
    from openeo.extra.job_management import MultiBackendJobManager
    from openeo.rest import OpenEoApiError

    class Manager(MultiBackendJobManager):
        problems: dict[tuple[str, str], str]

        def create(self, row: Any, connection: Any, **_: Any) -> Any:
            area, sensor = str(row["area"]), row["sensor"]
            try:
                graph = download_graph(settings.backend, sensor, settings.areas[area], settings.start, settings.end)
                title = f"ndvi-fusion {area} {sensor} {settings.start}..{settings.end}"
                return connection.create_job(process_graph=graph, title=title)
            except (OpenEoApiError, SourceError, KeyError) as error:
                _stop_if_logged_out(error, connection.root_url)
                self.problems[area, sensor] = f"the job was refused: {error}"
                return None

        def on_job_done(self, job: Any, row: Any) -> None:
            folder = settings.folder / str(row["area"]) / str(row["sensor"])
            if folder.is_dir():  # the manager may report a job twice
                return
            try:
                download(job, folder)
                self.problems.pop((row["area"], row["sensor"]), None)
            except Exception as error:
                _stop_if_logged_out(error, job.connection.root_url)
                self.problems[row["area"], row["sensor"]] = f"job {job.job_id}: download failed: {error}"

        def on_job_error(self, job: Any, row: Any) -> None:
            self.problems[row["area"], row["sensor"]] = f"job {job.job_id} failed: {_first_error(job)}"

        def on_job_cancel(self, job: Any, row: Any) -> None:
            self.problems[row["area"], row["sensor"]] = f"job {job.job_id} was cancelled on the back-end"

        def _job_update_loop(self, *arguments: Any, **named: Any) -> None:
            if settings.login == "oidc":
                try:  # the manager itself would log a rejected request and wait forever
                    connection.describe_account()
                except Exception as error:  # the manager waits out short network failures
                    _stop_if_logged_out(error, connection.root_url)
            super()._job_update_loop(*arguments, **named)

    pause: Any = settings.poll_s  # declared as whole seconds, used by time.sleep
    manager = Manager(poll_sleep=pause, root_dir=settings.folder, download_results=False)
    manager.problems = {}
    manager.add_backend(settings.backend, connection=connection, parallel_jobs=settings.parallel_jobs)
    return manager


def _stop_if_logged_out(error: Exception, url: str) -> None:
    if getattr(error, "http_status_code", None) in (401, 403):
        raise SourceError(
            f"the login at {url} has expired; log in with `openeo-auth oidc-auth {url}` and run again; "
            "jobs and downloads are kept"
        ) from error


def _first_error(job: Any) -> str:
    try:
        lines = job.logs(level="error")
        return str(lines[0].get("message", lines[0]))[:300] if lines else "no error log"
    except Exception as error:
        return f"its log cannot be read ({error})"


def download(job: Any, folder: Path) -> Path:
    """Download assets and metadata of a job to ``folder``, which appears only if every file can be read as a raster.

    Raises
    ------
    SourceError
        The job has no asset, or an asset is empty, incomplete or not a raster; the message names it.
    """
    with whole_file(folder) as partial:
        partial.mkdir()
        results = job.get_results()
        assets = results.get_assets()
        if not assets:
            raise SourceError("the job has no result file: the back-end has no data for this area and period")
        for asset in assets:
            asset.download(partial / Path(asset.name).name)
        write_json(partial / "job.json", job.describe())
        write_json(partial / "results.json", results.get_metadata())
        for file in find_files(partial):
            for band in read_bands(file):
                probe(band)
    return folder


def area_files(settings: OpenEOSource, area: str) -> DownloadedArea:
    """The files of a downloaded area."""
    units = load_target(settings.backend).s1_units
    folders = {s: settings.folder / area / s for s in settings.sensors if (settings.folder / area / s).is_dir()}
    found = {sensor: tuple(find_files(folder)) for sensor, folder in folders.items()}
    data = FilesSource(
        s2=found["s2"],
        s1=found.get("s1", ()),
        coarse=found.get("coarse", ()),
        s1_units=_units(found, units),
        s2_offset_dn=settings.s2_offset_dn,
    )
    missing = tuple(s for s in settings.sensors if s not in found)
    return DownloadedArea(data=data, origin=f"openEO {settings.backend}, {area}", missing=missing)


def read_area(settings: OpenEOSource, area: str) -> RawCubes:
    """Raw cubes of a downloaded area."""
    return area_files(settings, area).load()


def _units(found: dict[Sensor, tuple[Path, ...]], units: S1Units) -> S1Units:
    """Units of the collection, or "dn16" if the files use the 16-bit encoding that some workflows save."""
    for file in found.get("s1", ()):
        if any(band.dtype.kind == "u" and not band.scaled for band in read_bands(file)):
            return "dn16"
    return units
