"""The background thread that carries a spool to the store; the training loop never waits for it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from ..processes.process import BEAT_SECONDS
from .delivery import Delivery
from .reader import SpoolReader

log = logging.getLogger(__name__)

_MAX_BACKOFF = 30.0


class Sender:
    """Sends what the spool holds, in batches, and starts again after every failure.

    Args:
        reader: The spool.
        connect: Makes the `Delivery`; called in the thread, again after each failure until it succeeds.
        interval: Seconds between batches.
        before: Called once in the thread before the first batch; its errors are logged, nothing more.
        beat: Called in the thread about every `BEAT_SECONDS`: a sign of life; its errors likewise.
    """

    def __init__(
        self,
        reader: SpoolReader,
        connect: Callable[[], Delivery],
        interval: float,
        before: Callable[[], None] | None = None,
        beat: Callable[[], None] | None = None,
    ) -> None:
        self._reader = reader
        self._connect = connect
        self._interval = interval
        self._before = before
        self._beat = beat
        self._last_beat = time.monotonic()
        self._changed = threading.Condition()
        self._wanted = False
        self._closing = False
        self._over = False
        self._at_end: Callable[[], None] | None = None
        self._failures = 0
        self.last_error: BaseException | None = None
        self._delivery: Delivery | None = None
        self._thread = threading.Thread(target=self._run, name="integrand-sender", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Send now rather than at the end of the interval."""
        with self._changed:
            self._wanted = True
            self._changed.notify_all()

    def flush(self, size: int, timeout: float) -> bool:
        """Wait until everything before byte `size` of the spool is in the store.

        Returns:
            Whether it is; False after `timeout` seconds, or at once if the thread has died or
            the spool was deleted.
        """
        deadline = time.monotonic() + timeout
        with self._changed:
            self._wanted = True
            self._changed.notify_all()
            while self._reader.offset < size:
                left = deadline - time.monotonic()
                if left <= 0 or not self._thread.is_alive() or not self._reader.directory.exists():
                    return False
                self._changed.wait(min(left, 0.5))
        return True

    def close(self, at_end: Callable[[], None] | None = None) -> None:
        """Let the thread end after the request in hand, which is waited for no longer than a moment.

        Args:
            at_end: Called once nothing more can reach the store, by the thread if it takes its time.
        """
        if not self._thread.is_alive():
            if at_end is not None:
                at_end()
            return
        with self._changed:
            self._closing = True
            self._at_end = at_end
            self._changed.notify_all()
        self._thread.join(timeout=1.0)

    def go_on(self) -> bool:
        """Take a `close` back, if its request is still under way; False if the thread has ended."""
        with self._changed:
            if not self._over:
                self._closing, self._at_end = False, None
                return True
        self._thread.join()
        return False

    def _run(self) -> None:
        if self._before is not None:
            try:
                self._before()
            except Exception as error:
                log.debug("before the first batch: %r", error)
        while self._next():
            try:
                self._send()
                self._give_sign()
            except Exception as error:
                self._failed(error)
        if self._at_end is not None:
            self._at_end()

    def _give_sign(self) -> None:
        if self._beat is not None and time.monotonic() - self._last_beat >= BEAT_SECONDS:
            self._last_beat = time.monotonic()
            try:
                self._beat()
            except Exception as error:
                log.debug("no sign of life: %r", error)

    def _next(self) -> bool:
        """Wait until there is reason to send; False when the thread is to end."""
        with self._changed:
            if not self._closing and not self._wanted:
                self._changed.wait(self._pause())
            self._wanted = False
            self._over = self._closing
            return not self._over

    def _pause(self) -> float:
        if not self._failures:
            return self._interval
        return float(min(_MAX_BACKOFF, 2.0 ** min(self._failures - 1, 5)))

    def _send(self) -> None:
        # only what is there now: chasing a training that goes on writing would end in tiny, costly batches
        end_now = self._reader.offset + self._reader.pending_bytes
        while self._reader.offset < end_now:
            operations, end = self._reader.read()
            if end == self._reader.offset:
                return
            if self._delivery is None:
                self._delivery = self._connect()
            if not self._delivery.send(operations, lambda: not self._closing):
                return
            if self._failures:
                log.warning("tracking: the store answers again; what was kept is being sent")
                self._failures, self.last_error = 0, None
            for refusal in self._delivery.refused:
                log.warning("tracking: the store refused %s", refusal)
            self._delivery.refused.clear()
            aside = self._reader.set_aside
            with self._changed:
                self._reader.mark_sent(end)
                self._changed.notify_all()
            if self._reader.set_aside > aside:
                log.warning("tracking: damaged records are set aside in %s", self._reader.aside)

    def _failed(self, error: Exception) -> None:
        self._failures += 1
        self.last_error = error
        if self._failures == 1:
            log.warning(
                "tracking: the store does not take records now (%s); training goes on, they are kept in %s",
                _first_line(error),
                self._reader.directory,
            )


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
