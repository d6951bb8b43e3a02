"""Rows dealt out to processes: each once, as many steps for all, and a mean over rows that is that of one process."""

import itertools

import pytest
import torch

from integrand.datamodules.sharding import Shard


class Backwards(torch.utils.data.SequentialSampler):
    """An order that is not that of the rows."""

    def __iter__(self):
        return iter(reversed(range(len(self.data_source))))


def shards(size, count, batch, drop_last=False):
    return [Shard(Backwards(range(size)), count, r, batch, drop_last) for r in range(count)]


def steps(shard, batch):
    rows = list(shard)
    assert len(rows) == len(shard)
    return [rows[i : i + batch] for i in range(0, len(rows), batch)]


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize(("count", "batch"), [(2, 4), (3, 1), (3, 5), (8, 2)])
@pytest.mark.parametrize("size", range(1, 60))
def test_a_step_of_training_is_that_of_one_process_with_the_whole_batch(size, count, batch, drop_last):
    """Of any weighted rows the mean over processes is the mean over rows, step by step."""
    order = list(reversed(range(size)))
    expected = [order[i : i + count * batch] for i in range(0, size, count * batch)]
    if drop_last:
        expected = [rows for rows in expected if len(rows) == count * batch]
    parts = shards(size, count, batch, drop_last)
    dealt = [steps(part, batch) for part in parts]
    assert {len(part) for part in dealt} == {len(expected)}
    value = lambda rows: sum(row**2 for row in rows) / len(rows)  # noqa: E731
    for number, rows in enumerate(expected):
        here = [part[number] for part in dealt]
        weights = [part.weight(number) for part in parts]
        counted = [r for r, w in zip(here, weights, strict=True) if w > 0]
        assert sorted(itertools.chain(*counted)) == sorted(rows)
        mean = sum(w * value(r) for w, r in zip(weights, here, strict=True)) / count
        assert mean == pytest.approx(value(rows), rel=1e-12)


@pytest.mark.parametrize("size", range(1, 20))
def test_evaluation_takes_each_row_once(size):
    assert sorted(itertools.chain(*shards(size, 3, None))) == list(range(size))
