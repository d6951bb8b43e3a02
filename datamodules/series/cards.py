"""The cards of all series. Imports no torch."""

from __future__ import annotations

from .measured_cards import MEASURED
from .own.cards import OWN

CARDS = (*MEASURED, *OWN)
