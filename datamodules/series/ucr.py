"""Sets of the UCR archive (Dau et al. 2019)."""

from __future__ import annotations

from typing import cast

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
        data_dir: Folder that is searched first (docs/data.md).
        batch_size: Series per training batch and process.
        eval_batch_size: Series per batch in validation, test and prediction.
        val_fraction: Share of the training set held out for validation.
        split_seed: Seed of the held-out part; leave it fixed to compare runs of different seeds.
        drop: Share of the observations of each series that is left out, from 0 to below 1.
        drop_seed: Seed that chooses them; leave it fixed to compare runs of different seeds.
        seed: Seed of the order; by default the run's own seed.
        verify: Check the content against its published digest.

    Raises:
        UsageError: There is no such set, or a size or share is out of its domain.
    """

    card = CARD

    def __init__(
        self,
        dataset: str = "GunPoint",
        data_dir: str | None = None,
        batch_size: int = 32,
        eval_batch_size: int = 256,
        val_fraction: float = 0.2,
        split_seed: int = 0,
        drop: float = 0.0,
        drop_seed: int = 0,
        seed: int | None = None,
        verify: bool = True,
    ) -> None:
        super().__init__(
            data_dir, batch_size, eval_batch_size, val_fraction, split_seed, drop, drop_seed, seed, verify
        )
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
