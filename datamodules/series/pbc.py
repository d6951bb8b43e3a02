"""Visits of patients with primary biliary cirrhosis (Murtaugh et al. 1994)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from integrand.errors import UsageError

from ..formats.packed import WHOLE, unpack
from ..images.split import stratified
from .base import SeriesDataModule
from .labelled_cards import PBC as CARD
from .recording import Recording
from .stored import prepare, stored


class PBC(SeriesDataModule):
    """Who dies, or gets another liver, within some years of a landmark, by the visits before it.

    Only patients who are followed at the landmark count, and of these only those whose state at the end of
    the window is known: the others are left out (van Houwelingen 2007, Dynamic prediction by landmarking).
    What happens after the landmark is not given, so that the length of a series does not tell its end.
    Patients are split, each class keeping its share. Known of each are treatment, age in tens of years from
    50, and whether it is a woman.

    Args:
        data_dir: Folder that is searched first (docs/data.md).
        landmark: Years from entry; visits until then are given.
        window: Years from the landmark to which the question extends.
        batch_size: Patients per training batch and process.
        eval_batch_size: Patients per batch in validation, test and prediction.
        val_fraction: Share of the patients that validates.
        test_fraction: Share of the patients that tests.
        split_seed: Seed of the split; leave it fixed to compare runs of different seeds.
        drop: Share of the visits of each patient that is left out, from 0 to below 1.
        drop_seed: Seed that chooses them; leave it fixed to compare runs of different seeds.
        seed: Seed of the order; by default the run's own seed.
        verify: Check the content against its published digest.

    Raises:
        UsageError: A number is out of its domain.
    """

    card = CARD

    def __init__(
        self,
        data_dir: str | None = None,
        landmark: float = 2.0,
        window: float = 5.0,
        batch_size: int = 32,
        eval_batch_size: int = 256,
        val_fraction: float = 0.15,
        test_fraction: float = 0.25,
        split_seed: int = 0,
        drop: float = 0.0,
        drop_seed: int = 0,
        seed: int | None = None,
        verify: bool = True,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, drop, drop_seed, seed)
        if landmark < 0 or window <= 0:
            raise UsageError(
                f"landmark={landmark} and window={window} are no span of years",
                "give a landmark of 0 or more, and a positive window",
            )
        if not (val_fraction > 0 and test_fraction > 0 and val_fraction + test_fraction < 1):
            raise UsageError(
                f"val_fraction={val_fraction} and test_fraction={test_fraction} do not split patients",
                "give positive shares that sum to less than 1",
            )
        self.data_dir, self.verify = data_dir, verify
        self.landmark, self.window = landmark, window
        self.fractions, self.split_seed = (val_fraction, test_fraction), split_seed

    def prepare_data(self) -> None:
        """Make sure the data is on this machine; Lightning calls it in one process per machine.

        Raises:
            DataError: It is nowhere and may not or cannot be downloaded; the remedy names every way.
        """
        prepare(self.card, self.data_dir)

    def recordings(self) -> dict[str, list[Recording]]:
        """See `SeriesDataModule.recordings`."""
        everyone = unpack(stored(self.card, self.data_dir, self.verify), WHOLE)
        asked = [r for patient in everyone if (r := self._asked(patient)) is not None]
        if not asked:
            raise UsageError(
                f"nobody is followed from year {self.landmark} to {self.landmark + self.window}",
                "lower data.landmark or data.window: the longest follow-up is 14 years",
            )
        died = np.array([r.answer for r in asked])
        n_val, n_test = (round(share * len(asked)) for share in self.fractions)
        rest, test = stratified(died, n_test, self.split_seed)
        train, val = stratified(died[rest], n_val, self.split_seed + 1)
        rows = {"train": rest[train], "val": rest[val], "test": test}
        return {split: [asked[i] for i in chosen] for split, chosen in rows.items()}

    def _asked(self, patient: Recording) -> Recording | None:
        """The visits until the landmark and what came of the patient; None where that is not known."""
        assert isinstance(patient.answer, np.ndarray)
        followed, end = patient.answer
        last = self.landmark + self.window
        happened = end > 0 and followed <= last
        if followed <= self.landmark or not (happened or followed > last):
            return None
        treated, age, female = patient.static
        return replace(
            patient[patient.times <= self.landmark],
            static=np.array([treated, (age - 50) / 10, female]),
            answer=int(happened),
        )
