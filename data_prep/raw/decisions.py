"""What the values of a whole area decide once, so that it holds in every window of the area.

Units, encodings, offsets of images and levels of radar passes are found from values. A window by itself could decide
otherwise than its neighbour, which would be a seam between them, and a window of water or cloud could be refused. So a
run over windows looks at the whole area first (:func:`recorded`), and reads each window with what was found
(:func:`replayed`). Without either, everything is decided from the values at hand.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from data_prep.raw.cubes import SourceError

Decisions = dict[str, Any]  # name -> number, text, or list of them: what JSON holds

_recording: ContextVar[Decisions | None] = ContextVar("recording", default=None)
_decided: ContextVar[Decisions | None] = ContextVar("decided", default=None)


@contextmanager
def recorded() -> Iterator[Decisions]:
    """Collects what is decided inside the block."""
    found: Decisions = {}
    token = _recording.set(found)
    try:
        yield found
    finally:
        _recording.reset(token)


@contextmanager
def replayed(found: Decisions) -> Iterator[None]:
    """Inside the block nothing is decided or checked by values: all is as ``found``."""
    token = _decided.set(found)
    try:
        yield
    finally:
        _decided.reset(token)


def in_window() -> bool:
    """Whether the values at hand are a window of an area that was looked at before."""
    return _decided.get() is not None


def once(name: str, find: Callable[[], Any]) -> Any:
    """What ``find`` returns, or what it returned for the whole area.

    Raises
    ------
    SourceError
        Nothing of this name was decided for the whole area: the input has changed since.
    """
    decided, recording = _decided.get(), _recording.get()
    if decided is not None:
        if name not in decided:
            raise SourceError(f"{name}: not known from the look at the whole area; the input has changed, start again")
        return decided[name]
    found = find()
    if recording is not None:
        recording[name] = found
    return found
