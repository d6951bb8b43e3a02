"""What every set of series shares: splits, windows, scaling, observations left out, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from integrand.datamodules.card import DataCard
from integrand.datamodules.series.base import SeriesDataModule
from integrand.datamodules.series.forecasts import ForecastDataModule
from integrand.datamodules.series.recording import Recording
from integrand.errors import SpecError, UsageError
from integrand.spec import Classes, Forecast, SeriesSpec, Targets

SPEC = SeriesSpec("made-up", Forecast(), channels=2, length=9, static=1, scales=(2.0, 1.0), shifts=(1.0, 0.0))


def card(spec):
    return DataCard("made-up", "MadeUp", "nowhere", "", "series", spec, {}, "", "", origin="formula")


def recording(n, start=0.0, answer=None, **kwargs):
    values = np.stack([np.arange(n) * 2.0 + 1, -np.arange(n)], axis=1).astype(float)
    return Recording(start + np.arange(n) * 0.5, values, np.array([7.0]), answer, name=f"of {n}", **kwargs)


def made(base, spec=SPEC, lengths=(7, 4), answer=None, series=None, **kwargs):
    class MadeUp(base):
        def recordings(self):
            return {split: series or [recording(n, answer=answer) for n in lengths] for split in SPLITS}

    SPLITS = ("train", "val", "test")
    MadeUp.card = card(spec)
    return MadeUp(**kwargs)


def everything(loader):
    return list(loader)


def test_windows_follow_each_other_by_the_stride():
    data = made(ForecastDataModule, context=2, horizon=2, stride=1, batch_size=100, eval_batch_size=100)
    ((x, query),) = everything(data.train_dataloader())
    # of 7: starts 0 to 4; of 4: starts 0, 1; the last of each asks for one observation only
    assert len(x) == data.sizes["n_train"] == 5 + 2
    assert sorted(query.mask[:, :, 0].sum(1).tolist()) == [1, 1, 2, 2, 2, 2, 2]
    assert (x.times[:, -1] == 0).all()  # only gaps matter: the last given lies at time 0
    assert (query.times[:, 0] == 0.5).all()
    assert (x.static == 7).all()
    # the first channel rises by one step of its scale each: what is asked goes on where what is given ends
    assert torch.equal(query.values[:, 0, 0], x.values[:, -1, 0] + 1)


def test_evaluation_follows_each_recording_to_its_end():
    data = made(ForecastDataModule, context=2, horizon=2)
    ((x, query),) = everything(data.test_dataloader())
    assert len(x) == 2
    assert query.mask[:, :, 0].sum(1).tolist() == [5, 2]
    assert (query.times[1, 2:] == query.times[1, 1]).all()  # padding repeats the last time
    some = made(ForecastDataModule, context=2, horizon=2, eval_horizon=1, eval_stride=2)
    assert some.sizes["n_test"] == 3 + 1


def test_interpolation_asks_for_what_lies_within():
    options = {"context": 3, "horizon": 4, "within": True, "lengths": (7, 7), "eval_horizon": 4}
    data = made(ForecastDataModule, **options)
    ((x, query),) = everything(data.test_dataloader())
    assert x.times.shape == (2, 3)
    assert (x.times[:, 0] == 0).all()
    for i in range(2):  # together they are the window, and nothing twice
        assert sorted([*x.times[i].tolist(), *query.times[i].tolist()]) == [0.5 * k for k in range(7)]
        assert torch.equal(query.values[i, :, 0], 2 * query.times[i].float())
    assert data.spec.question.within
    assert data.spec.irregular
    ((again, _),) = everything(made(ForecastDataModule, **options, seed=5).test_dataloader())
    assert torch.equal(again.times, x.times)
    with pytest.raises(UsageError, match="nothing within"):
        made(ForecastDataModule, within=True)


def test_channels_are_scaled_by_the_spec():
    data = made(ForecastDataModule, context=7, horizon=1, lengths=(8,))
    ((x, _),) = everything(data.val_dataloader())
    assert torch.equal(x.values[0, :, 0], torch.arange(7.0))
    assert torch.equal(data.denormalise(x.values)[0, :, 0], torch.arange(7.0) * 2 + 1)


def test_where_the_law_changes_with_time_windows_keep_theirs():
    data = made(ForecastDataModule, replace(SPEC, autonomous=False), context=1, horizon=1, stride=1)
    ((x, _),) = everything(data.train_dataloader())
    assert sorted(x.times[:, 0].unique().tolist()) == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]


def test_rates_are_those_of_single_observations():
    rates = np.tile([4.0, -2.0], (5, 1))
    data = made(ForecastDataModule, series=[recording(5, rates=rates)], learn="derivatives")
    ((x, query),) = everything(data.train_dataloader())
    assert x.values.shape == (5, 1, 2)
    assert query.rates.tolist() == [[2.0, -2.0]] * 5  # in units of a batch
    with pytest.raises(UsageError, match=r"knows no derivatives → set data.learn to values"):
        made(ForecastDataModule, learn="derivatives").setup()


def test_a_share_of_the_observations_is_left_out_the_same_for_every_seed():
    spec = replace(SPEC, question=Classes(2))
    first, again, other = (
        made(SeriesDataModule, spec, lengths=(100, 50), answer=1, drop=0.3, seed=s, drop_seed=d)
        for s, d in ((0, 0), (1, 0), (0, 1))
    )
    ((x, y),), ((same, _),), ((differs, _),) = (everything(d.val_dataloader()) for d in (first, again, other))
    assert x.lengths.tolist() == [70, 35]
    assert y.tolist() == [1, 1]
    assert torch.equal(x.times, same.times)
    assert not torch.equal(x.times, differs.times)
    assert (x.times[0, :70].diff() > 0).all()
    assert first.spec.irregular
    assert first.digest == again.digest != other.digest


def test_missing_values_are_masked_and_zero():
    series = recording(4)
    series.values[2, 1] = np.nan
    data = made(SeriesDataModule, replace(SPEC, question=Classes(2)), series=[replace(series, answer=0)])
    ((x, _),) = everything(data.test_dataloader())
    assert x.mask[0, :, 1].tolist() == [True, True, False, True]
    assert x.values[0, 2, 1] == 0


def test_targets_are_scaled_by_the_question():
    question = Targets(("a", "b"), scales=(2.0, 1.0), shifts=(0.0, 10.0))
    data = made(SeriesDataModule, replace(SPEC, question=question), answer=np.array([4.0, 11.0]))
    ((_, y),) = everything(data.test_dataloader())
    assert y.tolist() == [[2.0, 1.0]] * 2


def bad(**kwargs):
    return [replace(recording(4), name="number 3", **kwargs)]


@pytest.mark.parametrize(
    ("series", "said"),
    [
        (bad(times=np.array([0.0, 2.0, 1.0, 3.0])), "number 3: time 1 of observation 3 does not come after"),
        (bad(times=np.array([0.0, 1.0, 1.0, 2.0])), "number 3: time 1 of observation 3 does not come"),
        (bad(times=np.array([0.0, 1.0, np.nan, 2.0])), "number 3: time nan of observation 3"),
        (bad(values=np.full((4, 2), np.inf)), "number 3 holds infinite values, .* at observation 1"),
        (bad(values=np.diag([1.0, 1e39])[[0, 0, 1, 0]]), r"number 3 .* beyond ±3e\+38, at observation 3"),
        (bad(static=np.full(1, np.nan)), "number 3 holds static numbers that are not finite"),
        (bad(values=np.zeros((4, 3))), "values and 1 static numbers for 4 times, 2 channels"),
        (bad(static=np.zeros(2)), "2 static numbers for"),
        ([replace(recording(0), name="number 3")], "number 3 has no observation → leave it out"),
    ],
)
def test_what_no_model_can_read_is_refused(series, said):
    with pytest.raises(SpecError, match=said):
        made(ForecastDataModule, series=series).setup()


@pytest.mark.parametrize(
    ("base", "kwargs", "error", "said"),
    [
        (ForecastDataModule, {"horizon": 0}, UsageError, "horizon=0 makes no window"),
        (ForecastDataModule, {"stride": 0}, UsageError, "stride=0 makes no window"),
        (
            ForecastDataModule,
            {"context": 7},
            UsageError,
            "the longest train series, 'of 7', has 7 observations",
        ),
        (
            ForecastDataModule,
            {"horizon": 7},
            UsageError,
            "1 given leave 6 to ask for, not 7 → set data.horizon to 6",
        ),
        (
            ForecastDataModule,
            {"horizon": 6, "eval_horizon": 7},
            UsageError,
            "longest val series, .* leave 6 to ask for, not 7 → set data.eval_horizon to 6 or less$",
        ),
        (
            ForecastDataModule,
            {"context": 2, "within": True, "horizon": 6},
            UsageError,
            "2 given leave 5 to ask",
        ),
        (ForecastDataModule, {"horizon": 6, "drop": 0.5}, UsageError, "to 3 or less, or lower data.drop"),
        (SeriesDataModule, {"drop": -0.1}, UsageError, "drop=-0.1 leaves no observations"),
        (SeriesDataModule, {"spec": replace(SPEC, question=Classes(2))}, SpecError, "a series has no answer"),
        (
            SeriesDataModule,
            {"spec": replace(SPEC, question=Classes(2)), "answer": 2},
            SpecError,
            "classes 2 to 2 of 2 → number them from 0",
        ),
    ],
)
def test_options_that_make_no_data_are_refused(base, kwargs, error, said):
    with pytest.raises(error, match=said):
        made(base, **kwargs).setup()
