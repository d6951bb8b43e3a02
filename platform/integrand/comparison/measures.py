"""What is read off a run record: the quality that is compared and the costs shown beside it."""

from __future__ import annotations

import difflib
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from integrand import quantities
from integrand.errors import UsageError
from integrand.quantities import Quantity
from integrand.record import RunRecord

Mode = Literal["min", "max"]

DEFAULT_METRICS = ("final/test_acc", "best/val_acc", "final/test_w2")
"""The first of these that the finished runs have is compared where nobody names a metric; after them what the
test says of the quantity that they monitor."""
LOSSES = ("final/test_loss", "best/val_loss")
"""After those, since families that answer the same question may train on losses that do not compare."""


@dataclass(frozen=True)
class Metric:
    """The quality that is compared.

    Args:
        name: Its name in `RunRecord.metrics`.
        mode: Whether smaller or larger is better.
        percent: Whether it is a fraction, shown times 100.
        unit: Its unit, empty where it has none.
    """

    name: str
    mode: Mode
    percent: bool
    unit: str = ""

    @property
    def label(self) -> str:
        """The name for headings, such as `final/test_acc (%)`."""
        unit = "%" if self.percent else self.unit
        return f"{self.name} ({unit})" if unit else self.name

    @property
    def scale(self) -> float:
        """What a value is multiplied by for display."""
        return 100.0 if self.percent else 1.0

    def of(self, record: RunRecord) -> float | None:
        """The metric of a run, None where it is missing or not finite."""
        return number(record.metrics.get(self.name))

    def better(self, a: float, b: float) -> bool:
        """Whether a is strictly better than b."""
        return a < b if self.mode == "min" else a > b


@dataclass(frozen=True)
class Cost:
    """A cost shown beside the quality.

    Args:
        key: Column name in CSV files.
        label: Column heading.
        axis: What it is, in words, with its unit.
        costs: Names to look for in `RunRecord.cost`, first found wins.
        metrics: Names to look for in `RunRecord.metrics` after that.
        shown: Whether the terminal's table has it; all others do.
    """

    key: str
    label: str
    axis: str
    costs: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    shown: bool = True

    @property
    def smaller_is_better(self) -> bool:
        """Whether less of it is better; not so for a rate."""
        quantity = quantities.find((*self.costs, *self.metrics)[0])
        return quantity is None or quantity.direction != "larger"

    def of(self, record: RunRecord) -> float | None:
        """The cost of a run, None where the record does not hold it."""
        for name in self.costs:
            if (found := number(record.cost.get(name))) is not None:
                return found
        for name in self.metrics:
            if (found := number(record.metrics.get(name))) is not None:
                return found
        return None


PARAMETERS = Cost("parameters", "parameters", "trainable parameters", ("parameters",))
# these three belong to one training step, so that they can be added; means over the last epoch
NFE_FORWARD = Cost(
    "nfe_forward",
    "NFE forward",
    "forward NFE per training batch (last epoch)",
    metrics=("solver/nfe_forward",),
)
NFE_BACKWARD = Cost(
    "nfe_backward",
    "NFE backward",
    "backward NFE per training batch (last epoch)",
    metrics=("solver/nfe_backward",),
)
VJPS = Cost(
    "vjps",
    "VJPs",
    "vector-Jacobian products per training batch (last epoch)",
    metrics=("solver/vjps",),
)
NFE_TEST = Cost(
    "nfe_test", "NFE test", "NFE per test batch", metrics=("solver/test_nfe_forward",), shown=False
)
SECONDS_PER_EPOCH = Cost(
    "seconds_per_epoch", "s/epoch", "training time per epoch (s)", ("seconds_per_epoch",)
)
SAMPLES_PER_SECOND = Cost(
    "samples_per_second",
    "samples/s",
    "training samples per second",
    ("samples_per_second",),
)
FIT_SECONDS = Cost(
    "fit_seconds",
    "fit s",
    "time of the whole fit with validation (s)",
    ("fit_seconds",),
    shown=False,
)
PEAK_MEMORY = Cost("peak_memory_mb", "peak memory", "peak memory (MiB)", ("peak_memory_mb",))
MEMORY_GROWTH = Cost(
    "memory_growth_mb",
    "memory growth",
    "peak memory less that before the first step (MiB)",
    ("memory_growth_mb",),
    shown=False,
)
FLOPS = Cost(
    "flops_forward_per_sample",
    "FLOPs",
    "floating-point operations of one forward pass per sample",
    ("flops_forward_per_sample",),
    shown=False,
)
ENERGY = Cost("energy_joules", "energy (J)", "energy of the fit (J)", ("energy_joules",))

SAMPLE_NFE = Cost("sample_nfe", "NFE", "network evaluations per sample", ("sample_nfe",))
EVALUATION_SECONDS = Cost("evaluation_seconds", "s", "time of the evaluation (s)", ("evaluation_seconds",))

COSTS = (
    PARAMETERS, NFE_FORWARD, NFE_BACKWARD, VJPS, NFE_TEST, SECONDS_PER_EPOCH, SAMPLES_PER_SECOND, FIT_SECONDS,
    PEAK_MEMORY, MEMORY_GROWTH, FLOPS, ENERGY, SAMPLE_NFE, EVALUATION_SECONDS,
)  # fmt: skip
"""The costs of a run; a table leaves out those that none of its runs recorded."""


def choose_metric(records: Sequence[RunRecord], name: str | None = None, mode: Mode | None = None) -> Metric:
    """The metric to compare, with its direction.

    Without a name it is the one that most finished runs have (the earlier in a draw) of `DEFAULT_METRICS`,
    the test's value of what the runs monitor, `LOSSES`, and the best value of what they monitor.

    Args:
        records: The runs.
        name: Name of the metric; None chooses.
        mode: Direction; None takes the one that is declared, see `integrand.quantities`.

    Raises:
        UsageError: No finished run has the metric, none can be chosen, or its direction is unknown.
    """
    finished = [r for r in records if r.status == "FINISHED"]
    have = Counter(key for r in finished for key, value in r.metrics.items() if number(value) is not None)
    if name is None:
        name = _most_common(finished, have)
    elif not have[name]:
        raise _not_recorded(name, have)
    quantity = _quantity(name, finished)
    direction = _direction(name, mode, finished, quantity)
    return Metric(
        name, direction, quantity is not None and quantity.percent, quantity.unit if quantity else ""
    )


def _most_common(finished: Sequence[RunRecord], have: Counter[str]) -> str:
    """The metric that most runs have, the default ones and what the runs monitor being eligible.

    Raises:
        UsageError: No run has any of them.
    """
    monitored = [r for r in finished if r.monitor.get("name")]
    monitors = [_flat(name) for name, _ in Counter(r.monitor["name"] for r in monitored).most_common()]
    tested = [f"final/test_{name.removeprefix('val_')}" for name in monitors]
    headlines = Counter(str(r.monitor["name"]) for r in monitored if r.evaluation)
    chosen = [name for name, _ in headlines.most_common()]
    candidates = [*DEFAULT_METRICS, *tested, *LOSSES, *chosen, *(f"best/{name}" for name in monitors)]
    name = max(candidates, key=lambda m: have[m])  # max takes the first of equals
    if not have[name]:
        raise UsageError(
            f"none of the {len(finished)} finished runs has any of {', '.join(candidates)}",
            "name one with --metric" + (f": {', '.join(sorted(have)[:8])}" if have else ""),
        )
    return name


def _not_recorded(name: str, have: Counter[str]) -> UsageError:
    close = difflib.get_close_matches(name, have, n=3, cutoff=0.4) or sorted(have)[:8]
    return UsageError(
        f"no finished run has the metric {name!r}",
        f"did you mean {', '.join(close)}?" if close else "no run has finished with metrics yet",
    )


def _direction(
    name: str, named: Mode | None, finished: Sequence[RunRecord], quantity: Quantity | None
) -> Mode:
    """The direction that the reader named, or else the declared one.

    Raises:
        UsageError: There is neither.
    """
    # what a run chose its best epoch by is a declaration too, and nearer than one by name
    direction = named or _monitored(name, finished) or (quantity.mode if quantity else None)
    if direction is None:
        problem = quantities.undirected(name, quantity)
        raise UsageError(problem.message, f"add --mode min or max, or {problem.remedy}")
    return direction


def _quantity(name: str, records: Sequence[RunRecord]) -> Quantity | None:
    """What the runs themselves or else Integrand say of a metric.

    Raises:
        UsageError: The runs contradict each other.
    """
    found = {q.direction: q for r in records if (q := quantities.find(name, r.quantities)) is not None}
    if len(found) > 1:
        raise UsageError(f"the runs disagree on which {name!r} is better", "compare those that agree")
    return next(iter(found.values()), None)


def _monitored(name: str, records: Sequence[RunRecord]) -> Mode | None:
    """The direction in which runs chose their best epoch by the metric."""
    wanted = name.removeprefix("best/").removeprefix("final/")
    modes = {r.monitor.get("mode") for r in records if _flat(r.monitor.get("name", "")) == wanted}
    return "min" if "min" in modes else "max" if "max" in modes else None


def validation_series(metric: Metric, records: Sequence[RunRecord]) -> str:
    """The recorded series that follows the metric over training: `val/acc` for `final/test_acc`.

    Where the metric is no test or validation value it is the series that most runs monitor; empty if none.
    """
    found = re.fullmatch(r"(?:best|final)/(?:test|val|validate)_(.+)|(?:test|val)/(.+)", metric.name)
    if found:
        return f"val/{found[1] or found[2]}"
    monitors = Counter(str(r.monitor["name"]) for r in records if r.monitor.get("name"))
    return min(monitors, key=lambda name: (-monitors[name], name)) if monitors else ""


def _flat(name: str) -> str:
    """`val/acc` as it stands behind `best/`: `val_acc`."""
    return name.replace("/", "_")


def number(value: object) -> float | None:
    """`value` as a finite float, None where it is none."""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    return None
