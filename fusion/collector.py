"""Python's garbage collector, set for processes that import much and end soon."""

import atexit
import gc

OLD_EVERY = 100  # collections of younger objects for one of all objects; Python's own number is 10


def collect_rarely() -> None:
    """Look through all objects ten times less often, and not at the end of the process.

    The modules that a command imports hold 300,000 objects, all of which stay. Looking through them again and again,
    and once more at the end, takes a quarter of the time of a short command. Young objects are collected as before.
    """
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, OLD_EVERY)
    atexit.register(gc.freeze)
