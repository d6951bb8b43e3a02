"""Can what a network says about its own certainty be believed?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor

from integrand.modules.family import FamilyModule

from ..errors import UsageError
from ..figures.calibration import coverage_figure, reliability_figure
from ..metrics import calibration as scores
from ..metrics import predictive
from ..tasks.classification import Classification
from ..tasks.forecasting import Forecasting
from ..tasks.regression import Regression
from .base import Evaluation, Finding
from .drawn import Said, number_of_draws, said


class Calibration(Evaluation):
    """Calibration of the predictive distribution on the test data.

    A classifier is scored as trained and with the temperature that suits its validation data best; with
    several draws the probabilities are means over them. A regression or forecast with draws is scored by
    them; one that says a single number as the Gaussian whose deviation is that of its validation errors.

    Args:
        passes: Draws of a network whose answers are random; by default 20.
        bins: Bins of confidence.
        seed: Seed of the draws.

    Raises:
        UsageError: There are no bins, or no passes.
    """

    name: ClassVar[str] = "calibration"
    title: ClassVar[str] = "likelihood, calibration error and intervals of what is predicted"
    quantities: ClassVar[tuple[str, ...]] = (
        *("acc", "nll", "brier", "ece", "adaptive_ece", "temperature"),
        *("rmse", "crps", "coverage_*", "sharpness"),
    )

    def __init__(self, passes: int | None = None, bins: int = 15, seed: int = 0) -> None:
        if bins < 1 or (passes is not None and passes < 1):
            raise UsageError(f"bins={bins}, passes={passes} measure nothing", "give 1 or more")
        self.passes, self.bins, self.seed = passes, bins, seed
        self._headline = "nll"

    @classmethod
    def fits(cls, model: Any, data: Any) -> str:
        """It has to answer for single inputs."""
        if not isinstance(model, FamilyModule):
            return "it is no family, so what its predictions mean is not known"
        if not isinstance(model.task, Classification | Regression | Forecasting):
            return f"{model.task.name} predicts nothing for a single input"
        return ""

    @property
    def headline(self) -> str:
        """Negative log-likelihood of classes, continuous ranked probability score of numbers."""
        return self._headline

    def measure(self, model: FamilyModule, data: Any) -> Iterator[Finding]:
        """As trained; of a classifier then with the fitted temperature."""
        classes = isinstance(model.task, Classification)
        self._headline = "nll" if classes else "crps"
        passes = number_of_draws(model, self.passes, 1 if classes else 2)
        seen = {split: said(model, data, split, passes, self.seed) for split in ("val", "test")}
        yield from (self._classes if classes else self._numbers)(model, seen["val"], seen["test"])

    def _classes(self, model: FamilyModule, val: Said, test: Said) -> Iterator[Finding]:
        fitted = scores.fit_temperature(val.draws, val.truth)
        for label, temperature in (("as trained", 1.0), ("temperature fitted", fitted)):
            p = scores.mean_probabilities(test.draws, temperature)
            bins = scores.equal_width_bins(p, test.truth, self.bins)
            found = {
                "acc": float((p.argmax(1) == test.truth).double().mean()),
                "nll": scores.negative_log_likelihood(p, test.truth),
                "brier": scores.brier_score(p, test.truth),
                "ece": bins.error,
                "adaptive_ece": scores.equal_mass_bins(p, test.truth, self.bins).error,
                "temperature": temperature,
            }
            name = "reliability" if temperature == 1.0 else "reliability_scaled"
            shown = [part.cpu().numpy() for part in (bins.counts, bins.confidence, bins.accuracy)]
            picture = reliability_figure(shown[0], shown[1], shown[2], name)
            settings = {"scaling": label, "passes": len(test.draws)}
            yield Finding(label, settings, found, test.cost, [picture])

    def _numbers(self, model: FamilyModule, val: Said, test: Said) -> Iterator[Finding]:
        draws, truth = model.task.compared(test.draws.double(), test.truth.double())
        mean = draws.mean(0)
        error = (mean - truth)[~truth.isnan()]
        found = {"rmse": float(error.square().mean().sqrt())}
        if len(draws) > 1:
            label = "draws"
            # outside its least and its largest draw a sample knows no quantile
            shares = [s for s in predictive.SHARES if (1 - s) / 2 * (len(draws) + 1) >= 1]
            covered = predictive.coverage_of_draws(draws, truth, shares)
            found |= {
                "crps": predictive.crps_of_draws(draws, truth),
                "sharpness": predictive.sharpness(draws.std(0)),
            }
        else:
            label = "Gaussian fitted"
            std = _deviation(*model.task.compared(val.draws.double().mean(0), val.truth.double()))
            covered = predictive.coverage_of_gaussian(mean, std, truth)
            found |= {
                "nll": predictive.nll_of_gaussian(mean, std, truth),
                "crps": predictive.crps_of_gaussian(mean, std, truth),
                "sharpness": predictive.sharpness(std),
            }
        found |= {f"coverage_{100 * share:g}": value for share, value in covered.items()}
        settings = {"law": label, "passes": len(draws)}
        yield Finding(label, settings, found, test.cost, [coverage_figure({label: covered})])


def _deviation(mean: Tensor, truth: Tensor) -> Tensor:
    """Root mean squared error of each output, shape (outputs,); the rounding of float64 at least."""
    known = ~truth.isnan()
    square = torch.where(known, mean - truth, 0.0).square().sum(0) / known.sum(0).clamp(min=1)
    return square.sqrt().clamp(min=torch.finfo(torch.float64).eps)
