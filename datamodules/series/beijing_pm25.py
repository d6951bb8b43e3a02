"""Fine dust and weather of Beijing, hour by hour (Liang et al. 2015)."""

from __future__ import annotations

from .record_cards import BEIJING_PM25
from .records import RecordDataModule, Windows


class BeijingPM25(RecordDataModule):
    """Fine dust and six columns of weather in the years 2010 to 2014; one day gives the next."""

    card = BEIJING_PM25
    windows = Windows(24, 24, 12)
