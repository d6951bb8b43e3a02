"""Four activities by a watch's accelerometer and gyroscope."""

from __future__ import annotations

from .labelled import LabelledSeriesDataModule
from .labelled_cards import BASIC_MOTIONS


class BasicMotions(LabelledSeriesDataModule):
    """80 recordings of ten seconds at 10 Hz: standing, walking, running, badminton."""

    card = BASIC_MOTIONS
