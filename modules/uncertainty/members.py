"""What families have in common that are built from networks of another family."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor
from torchmetrics import Metric

from integrand.errors import UsageError
from integrand.outcome import Outcome
from integrand.quantities import Direction
from integrand.series import Series
from integrand.solvers import SolveStats
from integrand.spec import ImageSpec, SeriesSpec, Spec, VectorSpec

from ..discrete.resnet import ResNet
from ..family import FamilyModule
from ..schedules import Interval

Member = Callable[[Spec], FamilyModule]
"""Makes a network of another family for what the data set publishes."""


def three_blocks(spec: Spec, **options: Any) -> FamilyModule:
    """The network that a family has where nobody chose another: the ResNet of the bench with three blocks."""
    return ResNet(spec, **{"blocks": 3, **options})


class MemberFamily(FamilyModule):
    """A distribution over what networks of one other family say.

    Args:
        spec: What the data set publishes; the command line fills it in.
        member: The other family with its options; `ResNet` with three blocks by default. Its own optimiser
            is not used.
        channels: Channels of the members' hidden states; by default the members' own.
        optimizer: Makes the optimiser from the parameters; default Adam with lr 1e-3.
        lr_scheduler: Makes the learning-rate schedule from the optimiser.
        lr_scheduler_interval: Whether it takes a step each `epoch` or each `step`; by default what it is made
            for: each step with OneCycleLR and CyclicLR, else each epoch.
        metrics: Metrics beside those of the task; see `BenchFamily`.
        metric_directions: Which of their values are better; see `BenchFamily`.

    Raises:
        UsageError: The data set asks what this family does not answer, or the other family optimises itself.
    """

    group = "uncertainty"
    takes: ClassVar[tuple[type[Spec], ...]] = (ImageSpec, VectorSpec, SeriesSpec)

    def __init__(
        self,
        spec: Spec,
        member: Member | None = None,
        channels: int | None = None,
        optimizer: OptimizerCallable = lambda params: torch.optim.Adam(params, lr=1e-3),
        lr_scheduler: LRSchedulerCallable | None = None,
        lr_scheduler_interval: Interval | None = None,
        metrics: Sequence[Metric] | None = None,
        metric_directions: dict[str, Direction] | None = None,
    ) -> None:
        super().__init__(spec, optimizer, lr_scheduler, lr_scheduler_interval, metrics, metric_directions)
        self._make_member = member or three_blocks
        self._options: dict[str, Any] = {} if channels is None else {"channels": channels}

    def make(self, number: int) -> FamilyModule:
        """Member `number`: the first is the network that its family makes by itself, others start elsewhere.

        Raises:
            UsageError: The family optimises itself.
        """
        with torch.random.fork_rng(devices=[]):
            if number:
                # the bench starts all stems from the seed of the generator, so that one has to differ
                key = f"member {number}:{torch.initial_seed()}"
                torch.manual_seed(int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") >> 1)
            made = self._make_member(self.spec, **self._options)
        if not made.automatic_optimization or made.models != self.models:
            raise UsageError(
                f"{type(made).__name__} trains in a way of its own, and cannot be a member",
                "set model.member to a family with one loss and one optimiser",
            )
        return made

    # ------------------------------------------------------------------ what it says

    @property
    @abstractmethod
    def networks(self) -> list[FamilyModule]:
        """The networks that are equally likely in the present mode."""

    def translate(self, said: Tensor) -> Tensor:
        """What this family says where a network says `said`; the same by default."""
        return said

    @property
    def components(self) -> int | None:
        """One for each network, or as many as one asks for where these draw themselves."""
        return len(self.networks) if all(n.components == 1 for n in self.networks) else None

    def draws(self, x: Any, count: int, times: Tensor | None = None) -> tuple[Tensor, list[SolveStats]]:
        """One draw of each network, or of each as many as make `count`; see `FamilyModule.draws`."""
        networks = self.networks
        each, rest = (1, 0) if self.components is not None else divmod(count, len(networks))
        said: list[Tensor] = []
        solves: list[SolveStats] = []
        for number, network in enumerate(networks):
            if each or number < rest:
                part, made = network.draws(x, each + (number < rest), times)
                said.append(self.translate(part))
                solves += made
        return torch.cat(said), solves

    def forward(self, x: Tensor | Series, times: Tensor | None = None) -> Tensor:
        """Outputs of shape (batch, outputs), such as logits; or values (batch, n, channels) of a forecast."""
        return self._pooled([network(x) if times is None else network(x, times) for network in self.networks])

    def respond(self, batch: Any) -> Outcome:
        """What the networks say together; see `FamilyModule.respond`."""
        outcomes = [network.respond(batch) for network in self.networks]
        outcome = outcomes[0]
        outcome.prediction = self._pooled([o.prediction for o in outcomes if o.prediction is not None])
        outcome.solves = [stats for o in outcomes for stats in o.solves]
        return outcome

    def step(self, batch: Any, stage: str) -> Outcome:
        """The task's loss of what the networks say together, in training with their penalties."""
        outcome = self.respond(batch)
        assert outcome.prediction is not None
        assert outcome.target is not None
        outcome.terms = {"loss": self.task.loss(outcome.prediction, outcome.target)}
        if stage == "train":
            for network in self.networks:
                for name, value in network.penalty().items():
                    outcome.terms[name] = outcome.terms.get(name, 0.0) + value
        outcome.prediction = outcome.prediction.detach()
        return outcome

    def describe_solver(self) -> tuple[str, str]:
        """That of the networks."""
        return self.networks[0].describe_solver()

    def _pooled(self, said: list[Tensor]) -> Tensor:
        translated = [self.translate(one) for one in said]
        return translated[0] if len(said) == 1 else self.task.pool(torch.stack(translated))
