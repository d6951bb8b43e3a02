"""Timing that survives a busy machine: alternatives interleaved, paired ratios of CPU time, medians."""

from __future__ import annotations

import json
import random
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch


@dataclass
class Row:
    """One line of the benchmark.

    Args:
        case: What was timed, such as `forward dopri5`.
        field: On which field.
        ratio: Median over repetitions of its CPU time over the reference's in the same repetition.
        reference: What the ratio is relative to.
        target: The ratio to stay below, None where none is set.
        met: Whether it did, None without target.
        spread: Half the distance between the quartiles of the ratio.
        repetitions: Number of repetitions.
        nfe: Evaluations of the timed solve.
    """

    case: str
    field: str
    ratio: float
    reference: str
    target: float | None = None
    met: bool | None = None
    spread: float = 0.0
    repetitions: int = 0
    nfe: int = 0

    def to_dict(self) -> dict[str, Any]:
        """The row as plain values."""
        return asdict(self)


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute with one thread inside, and with as many as before afterwards."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def write_rows(rows: Iterable[Row], path: Path) -> None:
    """Write rows as a JSON list, making the folder where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([row.to_dict() for row in rows], indent=1) + "\n", encoding="utf-8")


def measure(
    alternatives: Mapping[str, Callable[[], object]], seconds: float, least: int, seed: int
) -> dict[str, list[float]]:
    """CPU seconds of every alternative in every repetition.

    All alternatives run once per repetition, in random order, in this one process.

    Args:
        alternatives: What to run, by name.
        seconds: Wall time after which no further repetition starts.
        least: Number of repetitions made at any rate.
        seed: Seed of the order.
    """
    order = random.Random(seed)
    times: dict[str, list[float]] = {name: [] for name in alternatives}
    names = list(alternatives)
    for name in names:
        alternatives[name]()  # warms caches and compilers
    end = time.monotonic() + seconds
    while len(times[names[0]]) < least or time.monotonic() < end:
        order.shuffle(names)
        for name in names:
            start = time.process_time()
            alternatives[name]()
            times[name].append(time.process_time() - start)
    return times


def paired_row(
    case: str,
    field: str,
    reference: str,
    numerator: list[float],
    denominator: list[float],
    target: float | None,
    weight: float = 1.0,
    nfe: int = 0,
) -> Row:
    """A row from two lists of times of the same repetitions.

    Args:
        case: See `Row`.
        field: See `Row`.
        reference: See `Row`.
        numerator: Times of the case.
        denominator: Times of the reference.
        target: See `Row`.
        weight: Factor on the ratio, where the two did different numbers of evaluations.
        nfe: See `Row`.
    """
    ratios = sorted(weight * a / b for a, b in zip(numerator, denominator, strict=True))
    ratio = statistics.median(ratios)
    n = len(ratios)
    spread = (ratios[(3 * n) // 4] - ratios[n // 4]) / 2 if n > 1 else 0.0
    met = None if target is None else ratio <= target
    return Row(case, field, round(ratio, 4), reference, target, met, round(spread, 4), n, nfe)
