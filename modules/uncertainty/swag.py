"""Stochastic weight averaging, Gaussian (Maddox et al. 2019)."""

from __future__ import annotations

import copy
import math
from itertools import islice
from typing import Any

import torch
from lightning.fabric.utilities import move_data_to_device
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from integrand.datamodules.base import data_of
from integrand.errors import UsageError
from integrand.outcome import Outcome
from integrand.spec import Spec

from ..family import FamilyModule
from .members import Member, MemberFamily


class Iterates(nn.Module):
    """N(θ̄, ½(Σ_diag + D Dᵀ/(K − 1))) of the iterates seen, D the last K deviations from the mean so far.

    Args:
        size: Length of θ.
        rank: Largest K, 2 or more.
    """

    mean: Tensor
    squares: Tensor
    deviations: Tensor
    seen: Tensor

    def __init__(self, size: int, rank: int) -> None:
        super().__init__()
        self.rank = rank
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("squares", torch.zeros(size))  # Σ (θ − θ̄)², which does not cancel as Σ θ² would
        self.register_buffer("deviations", torch.zeros(rank, size))
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def see(self, theta: Tensor) -> None:
        """Take up one iterate, shape (size,)."""
        number = int(self.seen)
        before = theta - self.mean
        self.mean += before / (number + 1)
        after = theta - self.mean
        self.squares += before * after
        self.deviations[number % self.rank] = after
        self.seen += 1

    @torch.no_grad()
    def draw(self, seed: int, scale: float = 1.0) -> Tensor:
        """One draw, shape (size,).

        Args:
            seed: Of the draw.
            scale: Factor of the covariance.
        """
        generator = torch.Generator().manual_seed(seed)
        columns = min(int(self.seen), self.rank)
        z = torch.randn(len(self.mean), generator=generator).to(self.mean)
        w = torch.randn(columns, generator=generator).to(self.mean)
        spread = (self.squares / self.seen.clamp_min(1)).sqrt() * z
        spread = spread + self.deviations[:columns].T @ w / math.sqrt(max(1, columns - 1))
        return self.mean + math.sqrt(scale / 2) * spread


class SWAG(MemberFamily):
    """A Gaussian around the iterates of the last epochs, and the mean of the probabilities of its draws.

    From the share `start` of the epochs on, the rate is constant and the weights at the end of every epoch
    are collected. Draws get statistics of batch norm of their own from training batches. Validation begins
    with the collection, so that the best checkpoint is one that has a distribution.

    Args:
        spec: What the data set publishes; the command line fills it in.
        member: The family of the network with its options.
        start: Share of the epochs after which iterates are collected, 0 ≤ start < 1.
        rate: Learning rate from there on; half of the optimiser's own by default.
        rank: Deviations K that are kept, 2 or more.
        samples: Draws that evaluation pools; they are networks of a checkpoint.
        scale: Factor of the covariance, 0 or more; 0 is stochastic weight averaging.
        refresh: Training batches from which a draw takes its statistics of batch norm.
        **kwargs: See `MemberFamily`.

    Raises:
        UsageError: A number is out of its domain.
    """

    family = "swag"
    title = "SWAG"
    equation = "θ ~ N(θ̄, ½(Σ_diag + D Dᵀ/(K − 1))) of SGD's iterates, p(y | x) = E p(y | x; θ)"
    reference = "Maddox et al. 2019, A Simple Baseline for Bayesian Uncertainty in Deep Learning, algorithm 1"

    def __init__(
        self,
        spec: Spec,
        member: Member | None = None,
        start: float = 0.75,
        rate: float | None = None,
        rank: int = 20,
        samples: int = 10,
        scale: float = 1.0,
        refresh: int = 10,
        **kwargs: Any,
    ) -> None:
        if not 0 <= start < 1 or rank < 2 or min(samples, refresh) < 1 or not 0 <= scale < math.inf:
            raise UsageError(
                f"start={start}, rank={rank}, samples={samples}, scale={scale}, refresh={refresh}",
                "set model.start in [0, 1), model.rank to 2 or more, model.samples and model.refresh to 1 or "
                "more, model.scale to 0 or more",
            )
        super().__init__(spec, member, **kwargs)
        self.start, self.rate, self.scale, self.refresh = start, rate, scale, refresh
        self.network = self.make(0)
        self.stochastic = self.network.stochastic
        self.needs_grad_at_eval = self.network.needs_grad_at_eval
        self.iterates = Iterates(parameters_to_vector(self._trained(self.network)).numel(), rank)
        self.drawn = nn.ModuleList(copy.deepcopy(self.network).requires_grad_(False) for _ in range(samples))
        self._current = True

    # ------------------------------------------------------------------ what it says

    @property
    def networks(self) -> list[FamilyModule]:
        """The draws, once there are iterates; before them the network."""
        return self._drawn if self._has_drawn else [self.network]

    def step(self, batch: Any, stage: str) -> Outcome:
        """That of the network in training; see `MemberFamily` else."""
        return self.network.step(batch, stage) if stage == "train" else super().step(batch, stage)

    # ------------------------------------------------------------------ iterates

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Hold the rate while iterates are collected."""
        if self._collecting:
            for optimizer in self.trainer.optimizers:
                rate = 0.5 * optimizer.defaults["lr"] if self.rate is None else self.rate
                for group in optimizer.param_groups:
                    group["lr"] = rate

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Collect the weights at the end of an epoch."""
        if self._collecting and self.trainer.is_last_batch:
            self.iterates.see(parameters_to_vector(self._trained(self.network)))
            self._current = False

    def on_validation_start(self) -> None:
        """Draw anew where iterates were collected."""
        super().on_validation_start()
        self._redraw()

    def on_train_epoch_end(self) -> None:
        """Likewise, where nothing was validated."""
        self._redraw()

    def record(self, outcome: Outcome, stage: str) -> None:
        """See `FamilyModule.record`; nothing is recorded of validations before there are iterates."""
        if stage != "val" or self._has_drawn or self.trainer.state.fn is not TrainerFn.FITTING:
            super().record(outcome, stage)

    def configure_optimizers(self) -> Any:
        """See `FamilyModule.configure_optimizers`.

        Raises:
            UsageError: The number of epochs is not known.
        """
        if self._trainer is not None and not (self.trainer.max_epochs or 0) > 0:
            raise UsageError("SWAG collects in the last epochs", "set trainer.max_epochs")
        return super().configure_optimizers()

    @property
    def _collecting(self) -> bool:
        last = (self.trainer.max_epochs or 1) - 1
        return self.current_epoch >= min(math.floor(self.start * (last + 1)), last)

    @property
    def _has_drawn(self) -> bool:
        return not self.training and int(self.iterates.seen) > 0

    @property
    def _drawn(self) -> list[FamilyModule]:
        return [net for net in self.drawn if isinstance(net, FamilyModule)]

    @staticmethod
    def _trained(net: nn.Module) -> list[nn.Parameter]:
        return list(net.parameters())

    @torch.no_grad()
    def _redraw(self) -> None:
        if self._current:
            return
        for number, net in enumerate(self._drawn):
            net.load_state_dict(self.network.state_dict())
            vector_to_parameters(self.iterates.draw(number, self.scale), self._trained(net))
        norms = [[m for m in net.modules() if isinstance(m, _BatchNorm)] for net in self._drawn]
        if any(norms):
            # what loaders draw must not change what training draws next
            with torch.random.fork_rng(devices=[]):
                self._refresh(norms)
        self._current = True

    def _refresh(self, norms: list[list[_BatchNorm]]) -> None:
        """Statistics of batch norm of every draw: means over training batches."""
        data = data_of(self.trainer)
        if data is None:
            raise UsageError("draws take statistics of batch norm from training batches", "fit a data module")
        kept = [m.momentum for some in norms for m in some]
        for some in norms:
            for m in some:
                m.reset_running_stats()
                m.momentum = None
                m.train()
        for index, batch in enumerate(islice(data.train_dataloader(), self.refresh)):
            moved = move_data_to_device(data.on_before_batch_transfer(batch, index), self.device)
            for net in self._drawn:
                net.respond(data.on_after_batch_transfer(moved, index))
        for momentum, m in zip(kept, (m for some in norms for m in some), strict=True):
            m.momentum = momentum
            m.eval()
