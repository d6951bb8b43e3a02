"""Comparing generated samples with data, beside what data gives against data."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, ClassVar

import torch
from torch import Tensor

from integrand.errors import UsageError
from integrand.metrics import exact_w2, mmd2, sliced_w2_with_error

FLOOR = "_floor"
"""What the score of data against data is called behind the name of the score."""
DEVIATION = "_deviation"
"""What the standard deviation of a score over splits or sampling seeds is called behind its name."""
SPLITS = 5
"""Divisions of the data that a floor is a mean over, where nothing else is said."""


class Evaluation(ABC):
    """Scores of a set of samples.

    Args:
        num_samples: Largest number N of samples that are generated and compared with N data points; half the
            data points of the split where there are fewer than twice as many.
        seed: Seed of the samples, the same for every run, so that runs differ in their weights alone.

    Raises:
        UsageError: Fewer than two samples.
    """

    def __init__(self, num_samples: int = 2000, seed: int = 0) -> None:
        if num_samples < 2:
            raise UsageError(f"num_samples={num_samples} compares nothing", "ask for 2 or more")
        self.num_samples, self.seed = num_samples, seed

    in_validation: bool = True
    """Whether samples are scored in validation too, not in the test alone."""
    splits: ClassVar[int] = SPLITS
    """Divisions of the data for the floor of a test."""

    def check(self) -> None:  # noqa: B027  # most evaluations need nothing
        """Before a fit or test: raise where something is missing that cannot be had.

        Raises:
            UsageError: Something has to be installed.
        """

    def prepare(self, datamodule: Any) -> None:  # noqa: B027  # most evaluations need nothing
        """Before anything is compared: the data module of the run, None where there is none."""

    @abstractmethod
    def compare(self, samples: Tensor, data: Tensor, thorough: bool) -> dict[str, float]:
        """Scores by name, smaller or larger as their names say.

        Args:
            samples: Shape (N, …).
            data: As many data points.
            thorough: Whether scores that take seconds are wanted too: in the test, not in validation.
        """

    def floor(
        self, reference: Tensor, other: Tensor, thorough: bool, splits: int | None = None
    ) -> dict[str, float]:
        """What data score against data: `…_floor`, a mean over divisions, and `…_floor_deviation`.

        Args:
            reference: N data points.
            other: N others.
            thorough: See `compare`.
            splits: Divisions of all of them in two halves, the first as they are; with 1 there is no
                deviation. Those of a test where not given.
        """
        halves = divided(reference, other, self.splits if splits is None else splits)
        means, deviations = mean_and_deviation([self.compare(b, a, thorough) for a, b in halves])
        spread = {f"{name}{FLOOR}{DEVIATION}": value for name, value in deviations.items()}
        return {f"{name}{FLOOR}": value for name, value in means.items()} | spread

    def split(self, data: Tensor) -> tuple[Tensor, Tensor]:
        """N data points to compare with, and N others that give the floor: what data scores against data."""
        n = min(self.num_samples, len(data) // 2)
        return data[:n], data[n : 2 * n]


class PointEvaluation(Evaluation):
    """Sliced W₂ and MMD² in validation, and with POT exact W₂ in the test; for points of few dimensions."""

    def compare(self, samples: Tensor, data: Tensor, thorough: bool) -> dict[str, float]:
        """See `Evaluation.compare`."""
        sliced = sliced_w2_with_error(samples, data)
        scores = {"sliced_w2": sliced.value, "sliced_w2_error": sliced.error, "mmd2": mmd2(samples, data)}
        if thorough and find_spec("ot") is not None:
            scores["w2"] = exact_w2(samples, data)
        elif thorough:
            warnings.warn("no exact W₂ without POT: pip install 'integrand[ot]'", stacklevel=2)
        return scores


def divided(reference: Tensor, other: Tensor, splits: int) -> list[tuple[Tensor, Tensor]]:
    """Pairs of halves: the two as they are, then all of it divided anew at random.

    Halves of different pairs share points, so that their scores are not independent.
    """
    pairs, pool = [(reference, other)], torch.cat((reference, other))
    generator = torch.Generator().manual_seed(0)
    for _ in range(splits - 1):
        order = torch.randperm(len(pool), generator=generator).to(pool.device)
        pairs.append((pool[order[: len(reference)]], pool[order[len(reference) :]]))
    return pairs


def mean_and_deviation(scores: Sequence[dict[str, float]]) -> tuple[dict[str, float], dict[str, float]]:
    """Means of scores of the same names, and their standard deviations where there is more than one."""
    columns = {name: torch.tensor([row[name] for row in scores], dtype=torch.float64) for name in scores[0]}
    deviations = {name: float(v.std()) for name, v in columns.items() if len(scores) > 1}
    return {name: float(v.mean()) for name, v in columns.items()}, deviations
