"""Progress of a suite: a live display in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table

from .cells import Cell
from .estimate import in_words, remaining_seconds
from .launcher import Outcome, Task


class Progress:
    """Watches a launcher and tells people; use it as a context manager.

    Args:
        console: Where to print. On a terminal the running cells and the time left are shown live.
        cells: The cells to run, by key.
        total: Number of cells of the suite, those that had been done before included.
        jobs: Runs at a time.
        durations: Seconds of earlier runs by experiment.
    """

    def __init__(
        self,
        console: Console,
        cells: Mapping[str, Cell],
        total: int,
        jobs: int,
        durations: Mapping[str, Sequence[float]],
    ) -> None:
        self.console = console
        self.cells = cells
        self.total = total
        self.jobs = jobs
        self.durations = {name: list(values) for name, values in durations.items()}
        self.done = total - len(cells)
        self.failed = 0
        self.waiting = dict.fromkeys(cells)
        self.running: dict[str, float] = {}
        self.begin = time.monotonic()
        self.live = Live(console=console, get_renderable=self.render, refresh_per_second=2, transient=True)

    def __enter__(self) -> Progress:
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.live.stop()

    def started(self, task: Task, attempt: int) -> None:
        """See `Observer`."""
        self.waiting.pop(task.key, None)
        self.running[task.key] = time.monotonic()
        if not self.console.is_terminal:
            self._say(f"started  {task.label}" + (f" (attempt {attempt})" if attempt > 1 else ""))

    def retried(self, task: Task, error: str) -> None:
        """See `Observer`."""
        self.running.pop(task.key, None)
        self.waiting[task.key] = None
        self._say(f"[yellow]retried[/yellow]  {escape(task.label)}: {escape(error)}")

    def left(self, key: str, text: str) -> None:
        """A cell cannot run now; `text` says which and why."""
        self.waiting.pop(key, None)
        self._say(f"[yellow]left[/yellow]     {escape(text)}")

    def ended(self, outcome: Outcome) -> None:
        """See `Observer`."""
        task = outcome.task
        self.running.pop(task.key, None)
        self.waiting.pop(task.key, None)
        label = escape(task.label)
        if outcome.state == "finished":
            self.done += 1
            self.durations.setdefault(self.cells[task.key].experiment, []).append(outcome.seconds)
            text = f"[green]finished[/green] {label} in {outcome.seconds:.0f} s"
        elif outcome.state == "failed":
            self.failed += 1
            text = f"[red]failed[/red]   {label}: {escape(outcome.error)}"
        else:
            text = f"[yellow]stopped[/yellow]  {label}"
        if outcome.state != "interrupted" and (self.waiting or self.running):
            text += f"[dim]; {self.time_left()} left[/dim]"
        self._say(f"[{self.done + self.failed}/{self.total}] ".replace("[", r"\[") + text)

    def tick(self) -> None:
        """See `Observer`: the live display refreshes itself."""

    def stopping(self, reason: str) -> None:
        """See `Observer`."""
        self._say(
            f"[yellow]{reason}: ending {len(self.running)} running cells; once more kills them[/yellow]"
        )

    def leaving(self, reason: str, what: str) -> None:
        """See `Observer`."""
        self._say(f"[yellow]{reason}: {escape(what)}[/yellow]")

    def time_left(self) -> str:
        """Time until the suite is done, in words."""
        now = time.monotonic()
        running = [(self.cells[key].experiment, now - start) for key, start in self.running.items()]
        waiting = [self.cells[key].experiment for key in self.waiting]
        return in_words(remaining_seconds(waiting, running, self.durations, self.jobs))

    def render(self) -> RenderableType:
        """The live display."""
        now = time.monotonic()
        head = Table.grid(padding=(0, 2))
        bar = ProgressBar(total=self.total, completed=self.done + self.failed, width=30)
        failed = f"[red]{self.failed} failed[/red]" if self.failed else ""
        minutes, seconds = divmod(int(now - self.begin), 60)
        elapsed = f"{minutes}:{seconds:02d} elapsed"
        head.add_row(bar, f"{self.done}/{self.total}", failed, elapsed, f"{self.time_left()} left")
        rows = [
            f"  [cyan]▸[/cyan] {escape(self.cells[key].label)} [dim]{now - start:.0f} s[/dim]"
            for key, start in self.running.items()
        ]
        return Group(*rows, head)

    def _say(self, text: str) -> None:
        self.console.print(text, soft_wrap=True)
