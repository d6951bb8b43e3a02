"""How long the rest of a suite will take, from how long its runs took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median


def expected_seconds(experiment: str, durations: Mapping[str, Sequence[float]]) -> float | None:
    """Seconds that a run of the experiment takes: its own median, else that of all, else None."""
    own = durations.get(experiment)
    if own:
        return median(own)
    everything = [seconds for values in durations.values() for seconds in values]
    return median(everything) if everything else None


def remaining_seconds(
    waiting: Sequence[str],
    running: Sequence[tuple[str, float]],
    durations: Mapping[str, Sequence[float]],
    jobs: int,
) -> float | None:
    """Seconds until all is done, None where nothing is known yet.

    Args:
        waiting: Experiments of the runs that have not started.
        running: Experiment and seconds so far of those that have.
        durations: Seconds of ended runs by experiment.
        jobs: Runs at a time.
    """
    left = []
    for experiment, so_far in [*running, *((e, 0.0) for e in waiting)]:
        expected = expected_seconds(experiment, durations)
        if expected is None:
            return None
        left.append(max(0.0, expected - so_far))
    # work shared by all slots, but no run is shorter than itself
    return max([sum(left) / max(1, jobs), *left], default=0.0)


def in_words(seconds: float | None) -> str:
    """`about 3 min`."""
    if seconds is None:
        return "not known yet"
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    if seconds < 5400:
        return f"about {round(seconds / 60)} min"
    return f"about {seconds / 3600:.1f} h"
