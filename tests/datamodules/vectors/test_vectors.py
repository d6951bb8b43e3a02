"""Labelled vectors: shapes, splits, scaling, and what the formulas promise."""

import numpy as np
import pytest
import torch

from integrand.datamodules import load_class
from integrand.datamodules.vectors.cards import CARDS
from integrand.datamodules.vectors.concentric_annuli import ConcentricAnnuli
from integrand.datamodules.vectors.crossing_map import CrossingMap
from integrand.datamodules.vectors.diabetes import Diabetes
from integrand.datamodules.vectors.two_spirals import TwoSpirals
from integrand.datamodules.vectors.wine import Wine
from integrand.errors import SpecError, UsageError
from integrand.spec import Classes

SETS = [load_class(card) for card in CARDS]
every_set = pytest.mark.parametrize("cls", SETS, ids=lambda c: c.card.name)


def whole(loader):
    batches = list(loader)
    return torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])


@every_set
def test_batches_keep_what_the_spec_says(cls):
    data = cls(batch_size=16, seed=0)
    for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
        x, y = next(iter(loader))
        assert x.dtype == torch.float32
        assert x.shape[1:] == data.spec.input_shape
        if isinstance(data.spec.question, Classes):
            assert y.dtype == torch.int64
            assert y.shape == (len(x),)
            assert 0 <= int(y.min()) <= int(y.max()) < data.spec.num_classes
        else:
            assert y.dtype == torch.float32
            assert y.shape == (len(x), data.spec.question.size)


@every_set
def test_sizes_are_those_of_the_splits(cls):
    data = cls(seed=0)
    for split, loader in (
        ("train", data.train_dataloader()),
        ("val", data.val_dataloader()),
        ("test", data.test_dataloader()),
    ):
        assert len(whole(loader)[0]) == data.sizes[f"n_{split}"]
    assert data.sizes["n_train"] + data.sizes["n_val"] >= data.card.counts["train"]
    assert data.sizes["n_test"] == data.card.counts["test"]


@every_set
def test_the_order_follows_from_seed_and_epoch(cls):
    first, again, other = (whole(cls(seed=s).train_dataloader())[0] for s in (0, 0, 1))
    assert torch.equal(first, again)
    # the crossing map has two points, which stand in another order
    assert not torch.equal(first, other)
    assert cls(seed=0).digest == cls(seed=1).digest == ""
    a, b = cls(seed=0), cls(seed=1)
    a.setup()
    b.setup()
    assert a.digest == b.digest != ""


def test_columns_of_a_table_are_scaled_by_its_training_rows_alone():
    x, _ = whole(Wine(seed=0).train_dataloader())
    torch.testing.assert_close(x.mean(0), torch.zeros(13), atol=1e-5, rtol=0)
    torch.testing.assert_close(x.std(0, correction=0), torch.ones(13), atol=1e-5, rtol=0)
    test, _ = whole(Wine(seed=0).test_dataloader())
    assert test.mean(0).abs().max() > 0.05  # 44 rows scaled by the others' mean do not centre themselves


def test_a_table_is_split_by_class_without_overlap():
    data = Wine(seed=0)
    _, y = whole(data.test_dataloader())
    # 59, 71 and 48 wines: 44 of 178 take 14.6, 17.6 and 11.9 of them
    assert torch.bincount(y).tolist() in ([15, 17, 12], [14, 18, 12], [15, 18, 11])
    parts = [set(rows.tolist()) for rows in data._parts.values()]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 178


def test_the_scale_of_a_target_is_that_of_the_raw_table():
    _, y = Diabetes.read()
    question = Diabetes.card.spec.question
    np.testing.assert_allclose([y.mean(), y.std()], [question.shifts[0], question.scales[0]], rtol=1e-12)
    parts = [
        whole(loader)[1] for loader in (Diabetes(seed=0).train_dataloader(), Diabetes().val_dataloader())
    ]
    parts.append(whole(Diabetes().test_dataloader())[1])
    raw = torch.cat(parts) * question.scales[0] + question.shifts[0]
    np.testing.assert_allclose(sorted(raw[:, 0].tolist()), sorted(y[:, 0]), rtol=1e-5)


def test_the_disc_lies_inside_the_ring():
    x, y = ConcentricAnnuli.draw(np.random.default_rng(0), 4000)
    radius = np.hypot(*x.T)
    assert radius[y == 0].max() <= 0.5
    assert radius[y == 1].min() >= 1
    assert radius[y == 1].max() <= 1.5
    assert y.mean() == pytest.approx(2 / 3, abs=0.03)  # 4 deviations of 4,000 draws
    # uniform in area: half of the disc's points lie within 1/√2 of its radius
    assert (radius[y == 0] < 0.5 / np.sqrt(2)).mean() == pytest.approx(0.5, abs=0.06)


def test_the_spirals_are_each_other_turned_by_half_a_turn():
    x, y = TwoSpirals.draw(np.random.default_rng(0), 2000)
    turned = -x[y == 1]
    # every turned point of one arm has a neighbour on the other, up to noise and gaps between the draws
    gaps = np.linalg.norm(turned[:, None] - x[y == 0][None], axis=2).min(axis=1)
    assert np.quantile(gaps, 0.95) < 0.15
    apart = np.linalg.norm(x[y == 1][:, None] - x[y == 0][None], axis=2).min(axis=1)
    assert np.quantile(apart, 0.5) > 0.2


def test_the_crossing_map_crosses():
    x, y = CrossingMap.draw(np.random.default_rng(0), 10)
    assert sorted(set(x[:, 0])) == [-1, 1]
    np.testing.assert_array_equal(y, -x)
    assert x.sum() == 0


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Wine(batch_size=0), "makes no batch"),
        (lambda: Wine(val_fraction=0.6, test_fraction=0.5), "do not split a table"),
        (lambda: TwoSpirals(train_size=0), "leaves nothing to draw"),
    ],
)
def test_sizes_out_of_range_are_refused(make, said):
    with pytest.raises(UsageError, match=said):
        make()


def test_rows_that_contradict_the_spec_are_refused(monkeypatch):
    monkeypatch.setattr(TwoSpirals, "draw", staticmethod(lambda rng, n: (np.zeros((n, 3)), np.zeros(n))))
    with pytest.raises(SpecError, match=r"\(n, 2\)"):
        TwoSpirals().setup()


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e39])
def test_a_row_that_is_not_finite_in_float32_is_named(monkeypatch, value):
    def draw(rng, n):
        x = np.zeros((n, 2))
        x[5, 1] = value
        return x, np.zeros(n, dtype=np.int64)

    monkeypatch.setattr(TwoSpirals, "draw", staticmethod(draw))
    with pytest.raises(SpecError, match=r"row 5 \(counted from 0\) holds NaN"):
        TwoSpirals().setup()
