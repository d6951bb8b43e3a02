"""AutoAttack (Croce and Hein 2020) by the package torchattacks, where it is installed."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from ..errors import UsageError


class _Network(nn.Module):
    """A function of pixels as the module that the package asks for."""

    def __init__(self, logits: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(x)


def auto_attack(
    logits: Callable[[Tensor], Tensor], eps: float, classes: int, noisy: bool, seed: int
) -> Callable[[Tensor, Tensor], Tensor]:
    """The attack in the l∞ ball: `standard`, or `rand` with 20 averaged gradients where answers are random.

    Args:
        logits: Of pixels in [0, 1].
        eps: Radius of the ball.
        classes: Number of classes.
        noisy: Whether answers are random.
        seed: Seed of the attack.

    Raises:
        UsageError: The package is not installed.
    """
    try:
        package: Any = importlib.import_module("torchattacks")
    except ImportError as error:
        raise UsageError(
            f"AutoAttack needs the package torchattacks: {error}",
            "pip install --no-deps torchattacks requests",
        ) from error
    version = "rand" if noisy else "standard"
    attack = package.AutoAttack(_Network(logits), "Linf", eps, version, classes, seed)

    def made(x: Tensor, y: Tensor) -> Tensor:
        perturbed: Tensor = attack(x, y)
        return perturbed

    return made
