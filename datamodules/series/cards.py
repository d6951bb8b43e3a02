"""The cards of all series. Imports no torch."""

from __future__ import annotations

from .labelled_cards import LABELLED
from .own.cards import OWN
from .record_cards import RECORDS
from .ucr_cards import UCR

CARDS = (*LABELLED, UCR, *RECORDS, *OWN)
