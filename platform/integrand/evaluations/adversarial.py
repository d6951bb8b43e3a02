"""Does a classifier hold against inputs that were made to deceive it, and is the attack to be believed?"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from integrand.datamodules.acquire.cache import cache_folder
from integrand.datamodules.images.base import ImageDataModule
from integrand.modules.family import FamilyModule

from ..errors import UsageError
from ..figures.attacks import attack_figure
from ..metrics.classifier import extractor
from ..tasks.classification import Classification
from .attacks import Attacked, Ball, Loss, Norm, fgsm, joined, pgd
from .auto_attack import auto_attack
from .base import Evaluation, Finding, Row, Summary, rows_of
from .drawn import drawn, number_of_draws, seeded
from .masking import Check, checks
from .other_images import Images, lacks_images
from .passes import batches
from .solved_by import held, solved_by

AT_ONCE = 1024
"""Images times draws that an attack takes at most together."""


class Adversarial(Evaluation):
    """Accuracy on test images under attack, with checks whether the attack found what there is to find.

    Pixels in [0, 1] are perturbed. Where answers are random, each gradient is that of the mean probability
    of the draws (expectation over the noise, Athalye et al. 2018). The checks (Carlini et al. 2019): many
    steps are no weaker than one, the loss rises with the steps, images made on another network deceive no
    more, nor those made with one draw, or through finer steps of the solver; a ball that holds everything
    leaves nothing; and there are gradients at all.

    Args:
        eps: Radius ε of the l∞ ball.
        eps_l2: Radius of the l2 ball.
        steps: Steps of PGD.
        passes: Draws of a network whose answers are random; by default 20.
        n: Test images at most.
        checks: Whether the attack is checked, for about five attacks more.
        auto: Whether AutoAttack is run too, which needs the package torchattacks.
        seed: Seed of starts and draws.

    Raises:
        UsageError: A number is out of its domain, or the package is missing.
    """

    name: ClassVar[str] = "adversarial"
    title: ClassVar[str] = "accuracy under FGSM and PGD, with checks for masked gradients"
    quantities: ClassVar[tuple[str, ...]] = ("acc", "loss", "perturbation", "flat_gradients", "masking_signs")

    def __init__(
        self,
        eps: float = 8 / 255,
        eps_l2: float = 0.5,
        steps: int = 20,
        passes: int | None = None,
        n: int = 200,
        checks: bool = True,
        auto: bool = False,
        seed: int = 0,
    ) -> None:
        for what, given in (("steps", steps), ("passes", passes), ("n", n)):
            if given is not None and given < 1:
                raise UsageError(f"{what}={given} attacks nothing", "give 1 or more")
        self.balls: dict[Norm, Ball] = {"linf": Ball("linf", eps), "l2": Ball("l2", eps_l2)}
        self.steps, self.passes, self.n, self.checks, self.auto = steps, passes, n, checks, auto
        self.seed = seed
        self._losses: dict[str, list[float]] = {}
        self._checked: list[Check] = []

    @classmethod
    def fits(cls, model: Any, data: Any) -> str:
        """It has to classify images, whose range is known."""
        if not isinstance(model, FamilyModule) or not isinstance(model.task, Classification):
            return "it is no family that classifies"
        return lacks_images(data)

    @property
    def headline(self) -> str:
        """Accuracy under the attack."""
        return "acc"

    def measure(self, model: FamilyModule, data: Images) -> Iterator[Finding]:
        """One finding for each attack, the first of none, the last of the checks."""
        passes = number_of_draws(model, self.passes)
        target = Target(model, data, passes)
        x, y = (torch.cat(part)[: self.n] for part in zip(*batches(model, data), strict=True))
        x = data.denormalise(x)
        seen: dict[str, float] = {}
        flat = 0.0
        self._losses, self._checked = {}, []
        for plan in self._plans(target, data):
            finding, attacked = self._found(target, plan, x, y)
            if not attacked.x.isfinite().all():
                finding.error, finding.quantities = "the gradient is not finite", {}
            self._losses[plan.label] = attacked.losses.tolist()
            seen[plan.label] = finding.quantities.get("acc", float("nan"))
            if plan.label == f"{self._pgd} linf":
                flat = attacked.flat
            yield finding
        if self.checks:
            self._checked = checks(seen, self._losses, self._pgd, flat, len(x))
            signs = sum(not check.holds for check in self._checked)
            yield Finding("checks", {"attack": "checks"}, {"masking_signs": float(signs)})

    def _plans(self, target: Target, data: Images) -> Iterator[Plan]:
        """The attacks in the order in which they are made."""
        linf, far = self.balls["linf"], Ball("linf", 1.0)
        yield Plan("none", None, lambda x, y: Attacked(x, x.new_zeros(0), 0.0))
        yield Plan("fgsm linf", linf, lambda x, y: fgsm(target.loss, x, y, linf))
        for norm, ball in self.balls.items():
            yield self._ascent(f"{self._pgd} {norm}", ball, target.loss)
        if self.auto:
            classes = target.model.spec.num_classes
            attack = auto_attack(target.logits, linf.eps, classes, target.passes > 1, self.seed)
            yield Plan("autoattack linf", linf, lambda x, y: Attacked(attack(x, y), x.new_zeros(0), 0.0))
        if not self.checks:
            return
        yield self._ascent("transfer linf", linf, small_network(data))
        if target.passes > 1:
            yield self._ascent("one draw linf", linf, Target(target.model, data, 1).loss)
        # under noise another scheme integrates, which stays as it is
        if held(target.model) and target.model.components == 1:
            yield Plan("finer steps linf", linf, lambda x, y: self._through_finer_steps(target, x, y))
        yield self._ascent("whole range linf", far, target.loss)

    @property
    def _pgd(self) -> str:
        return f"pgd-{self.steps}"

    def _ascent(self, label: str, ball: Ball, loss: Loss) -> Plan:
        return Plan(label, ball, lambda x, y: pgd(loss, x, y, ball, self.steps))

    def _through_finer_steps(self, target: Target, x: Tensor, y: Tensor) -> Attacked:
        with solved_by(target.model, None, 1):
            return pgd(target.loss, x, y, self.balls["linf"], self.steps)

    def _found(self, target: Target, plan: Plan, x: Tensor, y: Tensor) -> tuple[Finding, Attacked]:
        began = time.perf_counter()
        with seeded(self.seed):
            # the graphs of all draws of these images are held together
            size = max(1, AT_ONCE // target.passes)
            made = joined(
                [plan.make(*part) for part in zip(torch.split(x, size), torch.split(y, size), strict=True)]
            )
            draws, nfe = drawn(target.model, target.data.scaled(made.x), target.passes)
        said = target.model.task.pool(draws)
        found = {
            "acc": float((said.argmax(1) == y).double().mean()),
            "loss": float(F.cross_entropy(said, y)),
            "perturbation": float(plan.ball.size(made.x, x).max()) if plan.ball else 0.0,
            "flat_gradients": made.flat,
        }
        settings = {"attack": plan.label, "eps": plan.ball.eps if plan.ball else 0.0, "passes": target.passes}
        cost = {"sample_nfe": nfe, "evaluation_seconds": time.perf_counter() - began}
        return Finding(plan.label, settings, found, cost), made

    def summary(self, findings: Sequence[Finding]) -> Summary:
        """The attacks, the checks, and the loss by step."""
        rows: list[Row] = [rows_of(finding) for finding in findings if finding.label != "checks"]
        tables = {self.name: rows}
        if self._checked:
            tables["checks"] = [asdict(check) for check in self._checked]
        notes = [f"{check.name} does not hold: {check.seen}" for check in self._checked if not check.holds]
        lines = {label: losses for label, losses in self._losses.items() if len(losses) > 1}
        return Summary(tables, [attack_figure(lines)] if lines else [], notes)


@dataclass(frozen=True)
class Plan:
    """An attack that is to be made.

    Args:
        label: Its name with its norm.
        ball: Perturbations allowed; None for none.
        make: Attacks pixels and true classes.
    """

    label: str
    ball: Ball | None
    make: Callable[[Tensor, Tensor], Attacked]


@dataclass(frozen=True)
class Target:
    """A network as an attack sees it: a function of pixels in [0, 1].

    Args:
        model: A trained family in evaluation mode.
        data: Its data module, which knows the scale of the pixels.
        passes: Draws that a gradient averages.
    """

    model: FamilyModule
    data: Images
    passes: int

    def logits(self, pixels: Tensor) -> Tensor:
        """Of the mean probability of the draws, shape (n, classes), with the graph."""
        draws, _ = self.model.draws(self.data.scaled(pixels), self.passes)
        return self.model.task.pool(draws)

    def loss(self, pixels: Tensor, y: Tensor) -> Tensor:
        """Cross-entropy of every image, shape (n,)."""
        return F.cross_entropy(self.logits(pixels), y, reduction="none")


def small_network(data: Images) -> Loss:
    """The loss of a small convolutional net that was trained on the same data by itself, and is kept."""
    images, labels = _training_bytes(data)
    folder = cache_folder().parent / "extractors"
    net = extractor(images, labels, data.spec.num_classes, folder).net

    def loss(pixels: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(net.to(pixels.device).classify(pixels), y, reduction="none")

    return loss


def _training_bytes(data: Images) -> tuple[Tensor, Tensor]:
    """Training images as bytes, and their classes; those of the user's own may be numbers from 0 to 1."""
    if isinstance(data, ImageDataModule):
        return data.whole_train()
    x, y = data.some("train", data.sizes["n_train"])
    return (255 * data.denormalise(x)).round().byte(), y
