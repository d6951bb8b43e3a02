"""Every recorded number, declared once: which direction is better, its unit, and how it is shown.

A metric of one's own is declared where it is logged, and its declaration travels in `record.json`:

    from integrand import quantities

    quantities.declare("energy_gap", "smaller", unit="J")
    self.log("val/energy_gap", gap)

This module imports neither torch nor Lightning.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal, get_args

from .errors import UsageError

Direction = Literal["larger", "smaller", "neither"]
"""Which values are better; neither where both ends are bad, or where a number only describes."""


@dataclass(frozen=True)
class Quantity:
    """A number that runs record.

    Args:
        name: Its name without stage, room and moment: `acc` of `val/acc`, `best/val_acc` and
            `final/test_acc`; `*` stands for anything.
        direction: Which values are better.
        label: What it is, in words.
        unit: Its unit; empty where it has none.
        percent: Whether it is a share of one that is shown times 100.
    """

    name: str
    direction: Direction
    label: str = ""
    unit: str = ""
    percent: bool = False

    @property
    def mode(self) -> Literal["min", "max"] | None:
        """The direction as optimisers spell it, None for neither."""
        modes: dict[str, Literal["min", "max"]] = {"smaller": "min", "larger": "max"}
        return modes.get(self.direction)


def _all(direction: Direction, *rows: tuple[str, ...], percent: bool = False) -> Iterable[Quantity]:
    """Quantities of one direction; each row is name, label and, where there is one, unit."""
    for name, label, *unit in rows:
        yield Quantity(name, direction, label, unit[0] if unit else "", percent)


DECLARED: tuple[Quantity, ...] = (
    # what a name ends with decides before what it begins with
    *_all(
        "neither",
        ("*_floor", "what data score against data"),
        ("*_deviation", "standard deviation over splits of the data or seeds of the samples"),
        ("loss_step", "training loss of single steps"),
        ("lr", "learning rate"),
        ("epoch", "epoch"),
        ("quality", "the quantity that chooses the best epoch"),
        ("*_samples", "samples behind a score"),
        ("parameter_*", "number of a known law"),
        ("terms", "terms of the equation found"),
    ),
    # classification
    *_all("larger", ("acc", "accuracy"), ("acc_*", "accuracy"), ("accuracy", "accuracy"), percent=True),
    *_all(
        "larger",
        ("auroc", "area under the receiver operating characteristic"),
        ("auc", "area under the curve"),
        ("aupr*", "area under the precision-recall curve"),
        ("average_precision", "average precision"),
        ("f1", "F1 score"),
        ("mcc", "Matthews correlation coefficient"),
        ("tnr*", "true negatives at a fixed share of true positives"),
    ),
    *_all(
        "smaller",
        ("error", "error rate"),
        ("fpr*", "false positives at a fixed share of true positives"),
        ("aurc", "area under the risk-coverage curve"),
        ("detection_error", "error of detection"),
    ),
    *_all(
        "smaller",
        ("clean_error", "error rate of images as they are"),
        ("corruption_error*", "error rate of corrupted images"),
        ("relative_corruption_error", "mean over kinds of the error over that of a reference"),
        ("flat_gradients", "share of images without a gradient"),
        percent=True,
    ),
    *_all("smaller", ("masking_signs", "checks of an attack that do not hold")),
    *_all("neither", ("perturbation", "largest norm of a perturbation")),
    # probabilities
    *_all(
        "smaller",
        ("ece*", "expected calibration error"),
        ("adaptive_ece", "calibration error, bins of equal mass"),
        ("mce", "maximum calibration error"),
        ("miscalibration_area", "area between calibration curve and diagonal"),
        ("brier", "Brier score"),
        ("crps", "continuous ranked probability score"),
        ("energy_score", "energy score"),
        ("interval_score", "interval score"),
        ("nll", "negative log-likelihood", "nats"),
        ("true_nll", "negative log-likelihood by the process that made the data", "nats"),
        ("poisson_nll", "negative log-likelihood by the best constant rates", "nats"),
        ("nlpd", "negative log predictive density", "nats"),
        ("bpd", "negative log-likelihood", "bits/dim"),
        ("cross_entropy", "cross-entropy", "nats"),
        ("perplexity", "perplexity"),
        ("kl", "Kullback-Leibler divergence", "nats"),
    ),
    *_all(
        "larger",
        ("log_likelihood", "log-likelihood", "nats"),
        ("likelihood", "likelihood"),
        ("elbo", "evidence lower bound", "nats"),
        ("iwae*", "importance-weighted bound", "nats"),
    ),
    *_all(
        "neither",
        ("coverage_*", "share of truths inside a central interval"),
        ("sharpness", "spread of the predictions"),
        ("entropy", "entropy of the predictions", "nats"),
        ("temperature", "temperature of the softmax"),
    ),
    # regression and trajectories
    *_all(
        "smaller",
        ("loss", "loss"),
        ("mse", "mean squared error"),
        ("rmse*", "root mean squared error"),
        ("nrmse", "root mean squared error over the spread of the data"),
        ("mae", "mean absolute error"),
        ("mape", "mean absolute percentage error"),
        ("energy_drift", "change of the energy along trajectories"),
        ("energy_error", "error of the energy along trajectories"),
        ("*_drift", "change of what should be constant"),
        ("max_error", "largest error"),
    ),
    *_all(
        "larger",
        ("r2", "coefficient of determination"),
        ("valid_time", "time until a forecast leaves the truth"),
        ("psnr", "peak signal-to-noise ratio", "dB"),
        ("ssim", "structural similarity"),
    ),
    # samples
    *_all(
        "smaller",
        ("w2", "Wasserstein distance"),
        ("sliced_w2", "sliced Wasserstein distance"),
        ("sliced_w2_error", "standard error of the sliced distance over its directions"),
        ("mmd", "maximum mean discrepancy"),
        ("mmd2", "maximum mean discrepancy squared"),
        ("fid", "Fréchet Inception distance"),
        ("kid", "kernel Inception distance"),
        ("FID-*", "Fréchet Inception distance"),
        ("FD-*", "Fréchet distance in the features of a classifier"),
        ("KD-*", "kernel distance in the features of a classifier"),
        ("distance", "distance"),
        ("mean_error", "error of the means over time, in deviations of the data"),
        ("std_error", "error of the deviations over time, in deviations of the data"),
        ("signature_mmd", "distance of the expected signatures"),
        ("c2st", "share of paths that a classifier tells from data, 1/2 at best"),
        ("straightness", "departure of the paths from straight lines"),
    ),
    *_all(
        "larger",
        ("precision*", "precision"),
        ("recall*", "recall"),
        ("density", "density of samples among data"),
        ("density-*", "density of samples among data"),
        ("coverage", "share of data with samples near"),
        ("coverage-*", "share of data with samples near"),
    ),
    # weighted terms of the training loss
    *_all(
        "smaller",
        ("kinetic", "kinetic energy of the paths"),
        ("jacobian", "squared Jacobian along the paths"),
        ("taylor", "squared derivative of higher order"),
        ("smoothness", "roughness of the weights in time"),
        ("one_step", "loss of one-step forecasts of what is given"),
        ("unknown", "size of the network beside a known law"),
        ("*_loss", "loss"),
    ),
    # what it costs
    *_all(
        "smaller",
        ("nfe*", "evaluations"),
        ("sample_nfe", "evaluations per sample"),
        ("total_nfe", "evaluations in all"),
        ("vjps*", "vector-Jacobian products"),
        ("jvps*", "Jacobian-vector products"),
        ("rejected", "rejected steps"),
        ("failures", "failed solves"),
        ("failed", "failed samples"),
        ("parameters", "trainable parameters"),
        ("seconds*", "time", "s"),
        ("*seconds", "time", "s"),
        ("time", "time", "s"),
        ("*_memory_mb", "memory", "MiB"),
        ("memory_growth_mb", "memory", "MiB"),
        ("bytes", "memory", "B"),
        ("flops*", "floating-point operations"),
        ("energy_joules", "energy", "J"),
    ),
    *_all("larger", ("samples_per_second", "samples per second", "1/s")),
    *_all(
        "neither",
        ("accepted", "accepted steps"),
        ("min_step", "smallest step"),
        ("max_step", "largest step"),
        ("stiffness", "stiffness"),
        ("total_epochs", "epochs in all"),
    ),
)
"""The first that fits a name holds."""

_own: dict[str, Quantity] = {}
_STAGE = re.compile(r"(?:train|val|validate|test|predict)[/_]")


def declare(
    name: str, direction: Direction, *, label: str = "", unit: str = "", percent: bool = False
) -> Quantity:
    """Declare a quantity of one's own, before it is logged; saying the same twice is no error.

    Args:
        name: Its name without stage: `energy_gap` of `val/energy_gap`; `*` stands for anything.
        direction: `larger`, `smaller` or `neither`: which values are better.
        label: What it is, in words.
        unit: Its unit.
        percent: Whether it is a share of one that is shown times 100.

    Raises:
        UsageError: There is no such direction, or the name is declared otherwise.
    """
    if direction not in get_args(Direction):
        raise UsageError(
            f"{name!r} cannot be better {direction!r}", f"choose from {', '.join(get_args(Direction))}"
        )
    quantity = Quantity(bare(name), direction, label, unit, percent)
    known = find(quantity.name)
    if known is not None and known.direction != direction:
        raise UsageError(
            f"{quantity.name!r} is declared already: {known.direction} is better", "give yours another name"
        )
    _own[quantity.name] = quantity
    return quantity


def bare(recorded: str) -> str:
    """A recorded name without moment and stage: `acc` of `best/val_acc`, `a/b` of `val/a/b`."""
    name = recorded.removeprefix("best/").removeprefix("final/")
    stage = _STAGE.match(name)
    return name[stage.end() :] if stage else name


def find(recorded: str, declared: Mapping[str, Mapping[str, Any]] | None = None) -> Quantity | None:
    """The quantity of a recorded name, None where nobody has declared it.

    Args:
        recorded: Such as `final/test_acc`, `solver/val_nfe_forward` or `acc`.
        declared: What a run record says of the quantities of its own; before all others.
    """
    theirs = [Quantity(**values) for values in (declared or {}).values()]
    whole = bare(recorded)
    last = bare(whole.rpartition("/")[2])
    for name in dict.fromkeys((whole, last)):
        for quantity in (*theirs, *_own.values(), *DECLARED):
            if fnmatchcase(name, quantity.name):
                return quantity
    return None


def mode_of(recorded: str) -> Literal["min", "max"]:
    """Whether the best value of a metric is its smallest or its largest.

    Raises:
        UsageError: Nobody has declared it, or neither end is better.
    """
    quantity = find(recorded)
    if quantity is None or quantity.mode is None:
        raise undirected(recorded, quantity)
    return quantity.mode


def undirected(recorded: str, quantity: Quantity | None = None) -> UsageError:
    """The error of a metric of which a best value is wanted and nobody knows which that is."""
    name = bare(recorded)
    if quantity is not None:
        return UsageError(f"neither a larger nor a smaller {name!r} is better", "choose another metric")
    return UsageError(
        f"nobody has declared whether a larger or a smaller {name!r} is better",
        f'integrand.quantities.declare("{name}", "larger") where it is logged',
    )


def own(recorded: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Declarations of one's own that fit any of the recorded names, as `record.json` holds them."""
    names = list(recorded)
    return {q.name: asdict(q) for q in _own.values() if any(find(name) == q for name in names)}
