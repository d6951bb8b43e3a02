"""Death in hospital by two days in intensive care (Silva et al. 2012)."""

from __future__ import annotations

from .labelled import LabelledSeriesDataModule
from .labelled_cards import PHYSIONET2012


class PhysioNet2012(LabelledSeriesDataModule):
    """8,000 stays of 48 hours, 37 measurements at irregular times, most of them missing; downloaded."""

    card = PHYSIONET2012
