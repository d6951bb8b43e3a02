"""The datamodule of the user's own series, from tables in long format."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from lightning.fabric.utilities.rank_zero import rank_zero_only
from torch import Tensor

from integrand.errors import UsageError
from integrand.spec import Forecast, SeriesSpec

from ...base import DESCRIBED
from ...loader import EpochLoader
from ...own.answers import listed
from ..base import SeriesDataModule
from ..forecasts import ForecastDataModule
from ..padded import SeriesSet
from ..recording import Recording
from .collection import Collection, Options, collect
from .roles import Roles
from .table import Table
from .times import Unit
from .trained import NEW, collect_new, description

log = logging.getLogger(__name__)


class OwnSeriesDataModule(ForecastDataModule):
    """Series from tables with one observation in a row.

    With a label column the class of a series is asked for, with target columns those numbers, otherwise what
    comes next. Cells without a value are missing observations. Series are split by their id; where there are
    fewer than three, each is cut in time: its end is never seen in training.

    Args:
        id_column: Column that says which series a row belongs to; guessed from usual names, else one series.
        time_column: Column of the times, numbers or dates; guessed from usual names.
        channels: Columns of what was observed; by default every column of numbers that has no other part.
        label_column: Column of the class of a series; guessed if it is called label, class or category.
        targets: Columns of numbers that belong to a series and are asked for.
        static: Columns of numbers that are known of a series as a whole.
        split_column: Column that says train, val or test; guessed if it is called split.
        time_unit: Unit of times that are read from dates; by default one that suits the gaps.
        time_scale: Times are divided by it.
        autonomous: Whether the same law holds at all times, so that only gaps matter.
        sort: Put the rows of a series in order of their times in place of an error.
        min_length: Fewest observations of a series.
        context: Observations given in a forecast; by default half of the shortest series, at most 20.
        horizon: Observations asked for in a forecast; by default as many as are given.
        stride: Observations from one training window to the next; by default windows touch.
        eval_horizon: Observations asked for in validation and test; by default as in training.
        eval_stride: Observations from one window of evaluation to the next; by default what is asked for.
        val_fraction: Share of the series that validates, where no column or file says.
        test_fraction: Share of the series that tests, where no column or file says.
        split_seed: Seed of the split; leave it fixed to compare runs of different seeds.
        described: What an earlier training inferred, as its checkpoint keeps it: all series then test it.
        **kwargs: See `ForecastDataModule`.

    Raises:
        UsageError: An option is out of its domain.
    """

    def __init__(
        self,
        id_column: str = "",
        time_column: str = "",
        channels: list[str] | None = None,
        label_column: str = "",
        targets: list[str] | None = None,
        static: list[str] | None = None,
        split_column: str = "",
        time_unit: Unit = "auto",
        time_scale: float = 1.0,
        autonomous: bool = True,
        sort: bool = False,
        min_length: int = 2,
        context: int | None = None,
        horizon: int | None = None,
        stride: int | None = None,
        eval_horizon: int | None = None,
        eval_stride: int | None = None,
        val_fraction: float = 0.15,
        test_fraction: float = 0.2,
        split_seed: int = 0,
        described: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if horizon is not None and horizon < 1:
            raise UsageError(
                f"horizon={horizon} asks for no time after the last observation given",
                "set data.horizon to 1 or more",
            )
        super().__init__(
            # two, in case of interpolation; the series decide
            context=2 if context is None else context,
            horizon=1 if horizon is None else horizon,
            stride=stride,
            eval_horizon=eval_horizon,
            eval_stride=eval_stride,
            **kwargs,
        )
        columns = Roles(
            id_column,
            time_column,
            tuple(channels or ()),
            label_column,
            tuple(targets or ()),
            tuple(static or ()),
            split_column,
        )
        self.options = Options(
            columns, time_unit, time_scale, autonomous, sort, min_length, context, horizon,
            val_fraction, test_fraction, split_seed, self.within, self.drop,
        )  # fmt: skip
        self._wanted_stride, self.described = stride, described
        self._ids: list[str] = []

    @abstractmethod
    def tables(self) -> Sequence[Table]:
        """The tables; a split each where there are several.

        Raises:
            UsageError: They cannot be read.
        """

    @cached_property
    def collection(self) -> Collection:
        """What the tables hold; read once, when it is first asked for."""
        if self.described is None:
            found = collect(self.card.name, self.tables(), self.options)
        else:
            found = collect_new(self.tables(), self.options, self.described)
        for line in found.said:
            say(line)
        return found

    @property
    def description(self) -> Mapping[str, Any]:
        """What was inferred; a checkpoint keeps it, and predictions start from it."""
        return description(self.collection, self.options) if self.described is None else self.described

    @property
    def ids(self) -> Sequence[str]:
        """The series that each prediction belongs to."""
        self.setup()
        return self._ids

    @property
    def wanted_splits(self) -> tuple[str, ...]:
        """See `SeriesDataModule.wanted_splits`."""
        return super().wanted_splits if self.described is None else NEW

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {DESCRIBED: dict(self.description)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Nothing: the data decide, and a description for others is an argument."""

    @property
    def published(self) -> SeriesSpec:
        """See `SeriesDataModule.published`."""
        return self.collection.spec

    @property
    def spec(self) -> SeriesSpec:
        """What a model takes from the data."""
        spec = self.published
        spec = replace(spec, irregular=spec.irregular or self.drop > 0)
        if not isinstance(spec.question, Forecast):
            return spec
        asked = replace(spec.question, within=self.within)
        return replace(spec, question=asked, length=asked.context, irregular=spec.irregular or self.within)

    def recordings(self) -> dict[str, list[Recording]]:
        """See `SeriesDataModule.recordings`."""
        return self.collection.parts

    def make_split(self, split: str, recordings: Sequence[Recording]) -> SeriesSet:
        """See `SeriesDataModule.make_split`."""
        question = self.spec.question
        if not isinstance(question, Forecast):
            self._refuse_windows()
            self._ids = [r.name for r in recordings] if split == "test" else self._ids
            return SeriesDataModule.make_split(self, split, recordings)
        self.context, self.horizon = question.context, question.horizon
        self.stride = self._wanted_stride or self.horizon
        self.eval_horizon = self.eval_horizon or self.horizon
        if self.described is not None:  # what is new may end earlier
            rest = max(len(r) for r in recordings) - self.context
            self.eval_horizon = max(1, min(self.eval_horizon, rest))
        self.eval_stride = self.eval_stride or self.eval_horizon
        if split == "test":
            windows = (self._windows(r, self.eval_horizon, self.eval_stride) for r in recordings)
            self._ids = [window.name for of_one in windows for window in of_one]
        return super().make_split(split, recordings)

    def _refuse_windows(self) -> None:
        """Options of a forecast say nothing where whole series are asked about."""
        asked = {"context": self.options.context, "horizon": self.options.horizon, "within": self.within}
        rest = {"stride": self._wanted_stride, "eval_horizon": self.eval_horizon}
        given = [f"data.{name}" for name, value in {**asked, **rest}.items() if value]
        if given and self.described is None:
            roles = self.collection.roles
            column, source = roles.label or ", ".join(roles.targets), self.tables()[0].source
            raise UsageError(
                f"{source}: {listed(given)} of a forecast, but each series is asked for its {column}",
                f"leave the options out, or rename the column {column}",
            )

    def _answers(self, recordings: Sequence[Recording]) -> Tensor | None:
        """None where new series have none."""
        if self.described is not None and any(r.answer is None for r in recordings):
            return None
        return super()._answers(recordings)

    def test_dataloader(self) -> EpochLoader:
        """The test split in order.

        Raises:
            UsageError: New series have no answers to compare with.
        """
        given: Any = self._set("test")
        if self.described is not None and given.answers is None and given.query is None:
            raise UsageError(
                f"{self.tables()[0].source} holds no answers that the model knows",
                "integrand predict needs none",
            )
        return super().test_dataloader()


@rank_zero_only
def say(line: str) -> None:
    """Tell the user, once where there are several processes."""
    log.warning(line)
