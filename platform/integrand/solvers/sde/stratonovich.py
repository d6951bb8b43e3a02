"""What the Stratonovich methods of order 1 share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from .solver import ALL_NOISE, OneStepSDE


class StratonovichStep(OneStepSDE):
    """Base of the methods of strong order 1 with commuting noise, else 1/2, without derivatives of g."""

    gradients: ClassVar[tuple[str, ...]] = ("backprop", "checkpoint", "adjoint")
    strong_order: ClassVar[float | None] = 1.0
    strong_orders: ClassVar[Mapping[str, float]] = {"general": 0.5}
    weak_order: ClassVar[float | None] = 1.0
    noise_types: ClassVar[tuple[str, ...]] = ALL_NOISE
    sde_types: ClassVar[tuple[str, ...]] = ("stratonovich",)
