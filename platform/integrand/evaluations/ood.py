"""Does a classifier notice what belongs to none of its classes?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, ClassVar

import torch
from torch import Tensor

from integrand.modules.family import FamilyModule

from ..errors import UsageError
from ..figures.detection import detection_figure
from ..metrics import doubt
from ..metrics.detection import detection
from ..tasks.classification import Classification
from .base import Evaluation, Finding
from .drawn import Said, number_of_draws, said_of
from .other_images import Images, lacks_images, other, usual
from .passes import batches


class OutOfDistribution(Evaluation):
    """Telling test images from those of other data sets by how unsure the network is.

    By the largest probability, the entropy, where draws differ their mutual information with the class, and
    what the family itself measures its ignorance by, such as the diffusion of an SDE-Net. What is known is
    the positive class of `aupr_in` and `tnr95`.

    Args:
        sets: Names of other image sets, or paths of images of your own; by default the usual sets that are
            on this machine.
        resize: Whether sets of another shape are made to fit; the usual ones always are.
        passes: Draws of a network whose answers are random; by default 20.
        n: Images of every set at most, by default as many as there are test images.
        seed: Seed of the draws.

    Raises:
        UsageError: There are no passes or images.
    """

    name: ClassVar[str] = "ood"
    title: ClassVar[str] = "telling test images from those of other data sets"
    quantities: ClassVar[tuple[str, ...]] = (
        *("auroc", "aupr_in", "aupr_out", "tnr95", "detection_error"),
        *("known_samples", "other_samples"),
    )

    def __init__(
        self,
        sets: list[str] | str | None = None,
        resize: bool = False,
        passes: int | None = None,
        n: int | None = None,
        seed: int = 0,
    ) -> None:
        for what, given in (("passes", passes), ("n", n)):
            if given is not None and given < 1:
                raise UsageError(f"{what}={given} measures nothing", "give 1 or more")
        self.sets = [sets] if isinstance(sets, str) else sets
        self.resize, self.passes, self.n, self.seed = resize, passes, n, seed

    @classmethod
    def fits(cls, model: Any, data: Any) -> str:
        """It has to classify images, whose range is known."""
        if not isinstance(model, FamilyModule) or not isinstance(model.task, Classification):
            return "it is no family that classifies"
        return lacks_images(data)

    @property
    def headline(self) -> str:
        """Area under the receiver operating characteristic."""
        return "auroc"

    def measure(self, model: FamilyModule, data: Images) -> Iterator[Finding]:
        """One finding for every other set and score."""
        others = [other(name, data, self.resize) for name in self.sets or usual(data)]
        passes = number_of_draws(model, self.passes, 2)
        x, y = (torch.cat(part) for part in zip(*batches(model, data), strict=True))
        n = min(len(x), self.n or len(x))
        known, seen = self._scores(model, x[:n], y[:n], passes)
        for found_set in others:
            images = found_set.images(data, n).to(x)
            found, also = self._scores(model, images, y[: len(images)], passes)
            cost = {**also.cost, "evaluation_seconds": seen.seconds + also.seconds}
            for score, values in found.items():
                settings = {"set": found_set.name, "score": score, "passes": passes}
                finding = Finding(f"{found_set.name} {score}", settings, cost=cost)
                _compare(finding, known[score], values, score, (data.spec.name, found_set.name))
                yield finding

    def _scores(
        self, model: FamilyModule, x: Tensor, y: Tensor, passes: int
    ) -> tuple[dict[str, Tensor], Said]:
        """Every score of every image, larger where less is known."""
        parts: Sequence[tuple[Tensor, Tensor]] = list(
            zip(torch.split(x, 512), torch.split(y, 512), strict=True)
        )
        seen = said_of(model, parts, passes, self.seed, "set")
        p = doubt.probabilities_of(seen.draws)
        scores = {"max-softmax": doubt.one_less_confidence(p), "entropy": doubt.predictive_entropy(p)}
        if passes > 1:
            scores["mutual-information"] = doubt.mutual_information(p)
        with torch.set_grad_enabled(model.needs_grad_at_eval):
            own = [model.doubts(part) for part, _ in parts]
        return scores | {key: torch.cat([some[key].detach() for some in own]) for key in own[0]}, seen


def _compare(finding: Finding, known: Tensor, other: Tensor, score: str, names: tuple[str, str]) -> None:
    """Fill in what a score tells."""
    if not (known.isfinite().all() and other.isfinite().all()):
        finding.error = f"{score} is not finite for some images"
        return
    told = detection(-known, -other)
    finding.quantities = {**asdict(told), "known_samples": len(known), "other_samples": len(other)}
    shown = [part.double().cpu().numpy() for part in (known, other)]
    finding.pictures = [detection_figure(shown[0], shown[1], score, names, told.auroc)]
