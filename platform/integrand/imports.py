"""Imports at the start of a command, cheaper than they come."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

_frozen = False


@contextmanager
def uncollected() -> Iterator[None]:
    """Import without garbage collection.

    Modules stay; the collector would walk over all of their million objects again and again, and free none.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def freeze() -> None:
    """Take what has been imported out of the garbage collector's sight, once in a process.

    Modules stay, and no later collection has to walk over them; what a command leaves behind in a process of
    many commands is collected. `gc.get_freeze_count` would say whether it has been done, by counting a
    million objects one by one.
    """
    global _frozen
    if not _frozen:
        gc.freeze()
        _frozen = True


def import_torchmetrics() -> None:
    """Import torchmetrics without the signal processing and the statistics of SciPy.

    At its start it imports `scipy.signal`, with hundreds of modules, to mend a name for an audio package: it
    finds a stand-in that has the name. Whoever imports `scipy.signal` later gets the real one.
    """
    name = "scipy.signal"
    if name in sys.modules or "torchmetrics" in sys.modules:
        return
    try:
        import scipy
    except ImportError:
        return
    stand_in = ModuleType(name)
    stand_in.__dict__["hamming"] = None
    sys.modules[name] = stand_in
    try:
        import torchmetrics  # noqa: F401
    finally:
        del sys.modules[name]
        vars(scipy).pop("signal", None)
