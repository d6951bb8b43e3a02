"""Blood sugar by a continuous monitor."""

from __future__ import annotations

from .record_cards import GLUCOSE
from .records import RecordDataModule, Windows


class Glucose(RecordDataModule):
    """Glucose and the sensor's current of one person, every 5 minutes with gaps, March to October 2010."""

    card = GLUCOSE
    windows = Windows(24, 12, 12)
