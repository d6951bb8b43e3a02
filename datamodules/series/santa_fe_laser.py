"""A chaotic laser (Hübner, Abraham and Weiss 1989)."""

from __future__ import annotations

from .record_cards import SANTA_FE_LASER
from .records import RecordDataModule, Windows


class SantaFeLaser(RecordDataModule):
    """Intensity of a far-infrared NH3 laser in its chaotic regime, 10,093 steps."""

    card = SANTA_FE_LASER
    windows = Windows(20, 20, 10)
