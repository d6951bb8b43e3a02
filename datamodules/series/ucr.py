"""Sets of the UCR archive (Dau et al. 2019)."""

from __future__ import annotations

from typing import Any, cast

from integrand.errors import UsageError
from integrand.spec import SeriesSpec
from integrand.suggest import did_you_mean

from ..card import DataCard
from .labelled import LabelledSeriesDataModule
from .ucr_cards import UCR as CARD
from .ucr_cards import slug


class UCR(LabelledSeriesDataModule):
    """One of 93 sets of the UCR archive, with the published split.

    Trailing gaps of the archive's tables are the ends of shorter series, other gaps are missing values.

    Args:
        dataset: Name of the set, such as GunPoint or ECG5000.
        **kwargs: See `LabelledSeriesDataModule`.

    Raises:
        UsageError: There is no such set, or a size or share is out of its domain.
    """

    card = CARD

    def __init__(self, dataset: str = "GunPoint", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        found = next((m for m in self.card.members if m.name == slug(dataset)), None)
        if found is None:
            names = [member.title for member in self.card.members]
            raise UsageError(
                f"the archive's packages hold no set {dataset!r}{did_you_mean(dataset, names)}",
                f"set data.dataset to one of {', '.join(names)}",
            )
        self._files = found

    @property
    def files(self) -> DataCard:
        """The card of the set."""
        return self._files

    @property
    def published(self) -> SeriesSpec:
        """See `SeriesDataModule.published`."""
        return cast(SeriesSpec, self._files.spec)
