"""What a person does by four tags that are located one after another (Kaluža et al. 2010)."""

from __future__ import annotations

from .labelled import LabelledSeriesDataModule
from .labelled_cards import PERSON_ACTIVITY


class PersonActivity(LabelledSeriesDataModule):
    """Pieces of up to 50 readings, each of one of four tags: irregular, nine of twelve channels missing.

    The eleven activities of the file are merged into seven, after Rubanova, Chen and Duvenaud (2019); the
    test is on a person who is not in training.
    """

    card = PERSON_ACTIVITY
