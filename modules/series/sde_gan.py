"""Generative adversarial network of two stochastic equations (Kidger et al. 2021)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn

from integrand.errors import UsageError
from integrand.outcome import Outcome
from integrand.series import Series
from integrand.spec import SeriesSpec, Spec
from integrand.tasks.path_generation import PathGeneration

from ..bench.net import check_series
from ..defaults import Maker
from ..family import FamilyModule
from ..generative.averaging import averaged
from ..schedules import Interval, step_schedules, with_schedules
from .path_generator import Critic, Generator
from .path_grid import on_grid
from .path_units import PathUnits

SEED = 0
"""Of the paths of an evaluation, the same for every model."""


class SDEGAN(FamilyModule):
    """A stochastic equation whose paths a controlled equation cannot tell from data.

    The critic raises the difference of its mean scores of data and of samples, which bounds the Wasserstein
    distance up to a constant since clipped weights make it Lipschitz; the generator lowers it. Both work in
    units in which the training paths deviate by `spread`: clipped layers are nearly straight on a small
    scale, where the critic sees a wrong mean but hardly a wrong deviation. (The authors take the deviation of
    the first values as unit, which data that start at one point lack.) Paths lie on an even grid of the
    data's median gap; series at other times or with missing values are read off straight lines between their
    observations. Evaluation and samples use averaged weights.

    Args:
        spec: What the data set publishes; the command line fills it in.
        channels: Length of the states of both equations.
        hidden: Width of hidden layers.
        depth: Number of hidden layers.
        noise: Components of the Brownian motion.
        initial_noise: Length of the noise that a path starts from.
        duration: What the longest series lasts in units of the equations.
        spread: Deviation of the training paths, over all times, in units of the equations.
        ema: Decay of the average of the generator's weights.
        optimizer: Of the generator; by default RMSprop. The authors take Adadelta with lr 2e-4,
            1e-3 for the critic, over 10,000 batches of 1,024.
        critic_optimizer: Of the critic.
        lr_scheduler: Makes the learning-rate schedule of each.
        lr_scheduler_interval: See `FamilyModule`.

    Raises:
        UsageError: A size is not positive, or a path has a single observation.
    """

    family = "sde-gan"
    title = "SDE-GAN"
    group = "series"
    models = "distribution"
    takes: ClassVar[tuple[type[Spec], ...]] = (SeriesSpec,)
    equation = "dX = μ(t, X) dt + σ(t, X) ∘ dW, min max E F(data) − E F(X), F(Y) = H(T), dH = f(H) d(t, Y)"
    reference = "Kidger et al. 2021, Neural SDEs as Infinite-Dimensional GANs"
    stochastic = True
    spec: SeriesSpec

    def __init__(
        self,
        spec: Spec,
        channels: int = 16,
        hidden: int = 16,
        depth: int = 1,
        noise: int = 3,
        initial_noise: int = 5,
        duration: float = 4.0,
        spread: float = 4.0,
        ema: float = 0.999,
        optimizer: OptimizerCallable = lambda params: torch.optim.RMSprop(params, lr=2e-3, alpha=0.9),
        critic_optimizer: OptimizerCallable = lambda params: torch.optim.RMSprop(params, lr=4e-3, alpha=0.9),
        lr_scheduler: LRSchedulerCallable | None = None,
        lr_scheduler_interval: Interval | None = None,
    ) -> None:
        super().__init__(spec, optimizer, lr_scheduler, lr_scheduler_interval)
        self.automatic_optimization = False
        length = self.spec.length
        if min(channels, noise, initial_noise) < 1 or not min(duration, spread) > 0 or length < 2:
            raise UsageError(
                f"channels={channels}, noise={noise}, initial_noise={initial_noise}, duration={duration}, "
                f"spread={spread}, length={length}",
                "give positive numbers, and series of two observations or more",
            )
        times = torch.arange(length, dtype=torch.float64) * (duration / (length - 1))
        values = self.spec.channels
        self.generator = Generator(values, times, channels, noise, initial_noise, hidden, depth)
        self.critic = Critic(values, times, channels, hidden, depth)
        self.critic.clip()
        self.average = averaged(self.generator, ema)
        self.units = PathUnits(values, spread)
        self._make_critic_optimizer = Maker(critic_optimizer, type(self), "critic_optimizer")

    # ------------------------------------------------------------------ paths

    def on_train_start(self) -> None:
        """Measure the training paths; a model that continues keeps its units.

        Several processes have their own shares, and take what the first one measured with its other buffers.
        """
        super().on_train_start()
        if not self.units.measured:
            loader: Any = self.trainer.train_dataloader
            self.units.measure(self._paths(_series(batch)) for batch in loader)

    @torch.no_grad()
    def sample(self, n: int, seed: int = 0) -> Tensor:
        """Paths by the averaged weights, shape (n, length, channels), in the units of a batch.

        Args:
            n: How many.
            seed: Seed of all of them.
        """
        paths: Tensor = self.average(n, seed)[0]
        return self.units.restore(paths)

    # ------------------------------------------------------------------ steps

    def step(self, batch: Any, stage: str) -> Outcome:
        """The critic's difference between data and samples; in evaluation also samples to compare."""
        x = _series(batch)
        check_series(x, self.spec)
        data = self._paths(x)
        if stage == "train":
            samples, made = self.generator(len(data))
        else:
            samples, made = self.average(len(data), SEED + self._number)
            self._number += 1
        real, read = self.critic(self.units.scaled(data))
        fake, read_too = self.critic(samples)
        terms = {"loss": real.mean() - fake.mean()}
        outcome = Outcome(terms, len(data), solves=[made, read, read_too], inputs=x)
        if stage != "train":
            outcome.prediction = self.units.restore(samples.detach())
            outcome.target = data
        return outcome

    def _paths(self, x: Series) -> Tensor:
        assert isinstance(self.task, PathGeneration)
        return on_grid(x.map_values(self.critic.readout.weight.dtype), self.task.times)

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        """One backward pass for both: the generator goes down its gradient, the critic up."""
        outcome = self._recorded(batch, "train")
        both: Any = self.optimizers()
        for one in both:
            one.zero_grad()
        self.manual_backward(outcome.loss)
        for parameter in self.critic.parameters():
            if parameter.grad is not None:
                parameter.grad.neg_()
        for one in both:
            one.step()
        self.critic.clip()
        self.average.update_parameters(self.generator)
        step_schedules(self, "step")
        return {"loss": outcome.loss.detach(), "outcome": outcome}

    def on_train_epoch_end(self) -> None:
        """Step the schedules that do so each epoch."""
        step_schedules(self, "epoch")

    def configure_optimizers(self) -> Any:
        """Two, of generator and critic, with a schedule each."""
        made = (
            self._make_optimizer(list(self.generator.parameters())),
            self._make_critic_optimizer(list(self.critic.parameters())),
        )
        return with_schedules(made, self._make_lr_scheduler, self._interval)

    def on_validation_epoch_start(self) -> None:
        """Begin with the first paths."""
        self._number = 0

    def on_test_epoch_start(self) -> None:
        """Begin with the first paths."""
        self._number = 0

    _number = 0

    def residuals(self) -> list[nn.Module]:
        """The fields every call of which is one evaluation."""
        return [self.generator.sde.drift, self.critic.field]

    def describe_solver(self) -> tuple[str, str]:
        """Method of the generator, and how it is differentiated."""
        return self.generator.solver.describe(), self.generator.solver.gradient


def _series(batch: Any) -> Series:
    """The series of a batch, with or without answers beside them."""
    x = batch[0] if isinstance(batch, list | tuple) else batch
    assert isinstance(x, Series)
    return x
