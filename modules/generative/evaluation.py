"""Comparing generated samples with data, beside what data gives against data."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from importlib.util import find_spec
from typing import Any

from torch import Tensor

from integrand.errors import UsageError
from integrand.metrics import exact_w2, mmd2, sliced_w2_with_error


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
