"""Signals that ask a launcher to stop."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequest:
    """Counts the signals that asked to stop while `watched` is open."""

    def __init__(self) -> None:
        self.signal: int | None = None
        """The first of them, None while there was none."""
        self.count = 0

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Turn SIGINT, SIGTERM and SIGHUP into requests; begins with none."""
        self.signal, self.count = None, 0
        previous = {}
        try:
            for number in STOP_SIGNALS:
                previous[number] = signal.signal(number, self._request)
        except ValueError:
            pass  # not the main thread, which alone receives signals
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.signal = self.signal or number
        self.count += 1
