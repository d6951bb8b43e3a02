"""Long measured records, cut in time: their end is never seen in training."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

from integrand.errors import UsageError

from ..formats.packed import WHOLE, unpack
from .base import SPLITS
from .cut import cut_in_time
from .forecasts import ForecastDataModule
from .recording import Recording
from .stored import prepare, stored


class Windows(NamedTuple):
    """The windows of a record unless the user wants others.

    Args:
        context: Observations given.
        horizon: Observations asked for.
        stride: Observations from one training window to the next.
    """

    context: int
    horizon: int
    stride: int


class RecordDataModule(ForecastDataModule):
    """Windows of records, most often of one: its first part trains, the next validates, the last tests.

    What is given to the first window of a part is the end of the part before, so that in evaluation every
    observation of a part is asked for, once.

    Args:
        data_dir: Folder that is searched first (docs/data.md).
        context: Observations given; by default what suits the record.
        horizon: Observations asked for; by default what suits the record.
        stride: Observations from one training window to the next; by default what suits the record.
        eval_horizon: Observations asked for in validation and test; by default as in training.
        eval_stride: Observations from one window of evaluation to the next; by default what is asked for.
        val_fraction: Share of the record that validates.
        test_fraction: Share of the record, at its end, that tests.
        verify: Check the content against its published digest.
        **kwargs: See `ForecastDataModule`.

    Raises:
        UsageError: A number is out of its domain, or the shares leave nothing to train on.
    """

    windows: ClassVar[Windows]

    def __init__(
        self,
        data_dir: str | None = None,
        context: int | None = None,
        horizon: int | None = None,
        stride: int | None = None,
        eval_horizon: int | None = None,
        eval_stride: int | None = None,
        val_fraction: float = 0.15,
        test_fraction: float = 0.15,
        verify: bool = True,
        **kwargs: Any,
    ) -> None:
        usual = self.windows
        horizon = usual.horizon if horizon is None else horizon
        super().__init__(
            context=usual.context if context is None else context,
            horizon=horizon,
            stride=usual.stride if stride is None else stride,
            eval_horizon=horizon if eval_horizon is None else eval_horizon,
            eval_stride=eval_stride or eval_horizon or horizon,
            **kwargs,
        )
        if not (val_fraction > 0 and test_fraction > 0 and val_fraction + test_fraction < 1):
            raise UsageError(
                f"val_fraction={val_fraction} and test_fraction={test_fraction} do not split a record",
                "give positive shares that sum to less than 1",
            )
        self.data_dir, self.verify = data_dir, verify
        self.fractions = val_fraction, test_fraction

    def prepare_data(self) -> None:
        """Make sure the data is on this machine; Lightning calls it in one process per machine.

        Raises:
            DataError: It is nowhere and may not or cannot be downloaded; the remedy names every way.
        """
        prepare(self.card, self.data_dir)

    def recordings(self) -> dict[str, list[Recording]]:
        """See `SeriesDataModule.recordings`."""
        records = map(self.ready, unpack(stored(self.card, self.data_dir, self.verify), WHOLE))
        # in interpolation what is asked for may stand among the first of a window
        before = 0 if self.within else self.context
        cuts = [cut_in_time(record, before, self.fractions) for record in records]
        return {part: [cut[part] for cut in cuts] for part in SPLITS}

    def ready(self, record: Recording) -> Recording:
        """A record as it is cut; subclasses may change it."""
        return record
