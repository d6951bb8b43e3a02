"""The contract of noise as a regulariser: an object that a family is given, and that enters its dynamics."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

from torch import nn

from integrand.errors import UsageError

from .dynamics import Composition, Dynamics
from .stages import StagedDynamics, Transition

Part = Dynamics | Transition

_UNDECLARED = "its dynamics declare no step and no field that noise could enter"
_RECOMPUTED = "its backward pass evaluates the residual functions again and would meet other noise"


class Noise(nn.Module, ABC):
    """Noise that regularises a family; a network holds a copy of its own.

    What the noise learns, if anything, is in this module, so that a checkpoint of a family fits the family
    with and without noise. Training mode and evaluation follow the module's own `training`.
    """

    fits: ClassVar[tuple[Composition, ...]]
    """The compositions of dynamics that it can enter."""
    reasons: ClassVar[Mapping[Composition, str]] = {}
    """Why it cannot enter others, each the end of a sentence."""
    pools: ClassVar[bool] = False
    """Whether the task pools the passes as equally likely draws; otherwise their outputs are averaged."""
    where: ClassVar[str]
    """What it fits, in words, for the remedy of a refusal."""

    @property
    def passes(self) -> int:
        """Passes through the network whose logits are averaged, in the present mode."""
        return 1

    @property
    def draws_in_evaluation(self) -> bool:
        """Whether two evaluations in evaluation mode differ too."""
        return False

    @property
    @abstractmethod
    def stochastic(self) -> bool:
        """Whether two evaluations in training mode differ."""

    def attach(self, dynamics: Dynamics, family: str) -> None:
        """Enter `dynamics`, all stages of them; called once, by the network that owns both.

        Args:
            dynamics: The dynamics of the network.
            family: Name of the family's class, for messages.

        Raises:
            UsageError: The noise does not fit.
        """
        parts = _parts(dynamics)
        for part in parts:
            if isinstance(part, Dynamics) and (reason := self.why_not(part)):
                name = type(self).__name__
                raise UsageError(f"{name} does not fit {family}: {reason}", self._remedy(part))
        self.enter(dynamics, parts)

    def why_not(self, dynamics: Dynamics) -> str:
        """Why the noise cannot enter `dynamics`, as the end of a sentence; empty where it can."""
        kind = dynamics.composition
        if kind in self.fits:
            return ""
        if kind == "none":
            return _UNDECLARED
        return _RECOMPUTED if self._would_fit(dynamics) else self.reasons[kind]

    @abstractmethod
    def enter(self, dynamics: Dynamics, parts: Sequence[Part]) -> None:
        """Change the dynamics so that the noise acts in them.

        Args:
            dynamics: The whole, whose solution carries the account.
            parts: The dynamics of every stage, all of which fit, with the transitions between them, in the
                order of the forward pass.
        """

    def _would_fit(self, dynamics: Dynamics) -> bool:
        """Whether only the recomputation is in the way."""
        return dynamics.composition == "recomputed" and "recomputed" not in self.reasons

    def _remedy(self, dynamics: Dynamics) -> str:
        if self._would_fit(dynamics):
            return "set model.reversible_backward to false"
        return f"remove model.noise, or use {self.where}"


def _parts(dynamics: Dynamics) -> list[Part]:
    if not isinstance(dynamics, StagedDynamics):
        return [dynamics]
    # one transition after every stage but the last
    modules = [m for pair in zip(dynamics.stages, [*dynamics.transitions, None], strict=True) for m in pair]
    return [m for m in (dynamics.entry, *modules) if isinstance(m, Dynamics | Transition)]
