"""Hares and lynxes of the Hudson Bay, year by year."""

from __future__ import annotations

from .record_cards import HARE_LYNX
from .records import RecordDataModule, Windows


class HareLynx(RecordDataModule):
    """Pelts of hare and lynx traded by the Hudson's Bay Company, in thousands, 1845 to 1935."""

    card = HARE_LYNX
    windows = Windows(10, 5, 1)
