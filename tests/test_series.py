"""Batches of series: what is derived from times, mask and lengths, and that Lightning can move them."""

import torch
from lightning.fabric.utilities import move_data_to_device

from integrand.series import Query, Series


def made():
    return Series(
        times=torch.tensor([[0.0, 1.0, 3.0], [2.0, 2.5, 2.5]], dtype=torch.float64),
        values=torch.tensor([[[1.0], [2.0], [3.0]], [[4.0], [5.0], [0.0]]]),
        mask=torch.tensor([[[True], [False], [True]], [[True], [True], [False]]]),
        lengths=torch.tensor([3, 2]),
        static=torch.zeros(2, 0),
    )


def test_what_follows_from_times_and_lengths():
    x = made()
    assert x.present.tolist() == [[True, True, True], [True, True, False]]
    assert x.gaps.tolist() == [[0.0, 1.0, 2.0], [0.0, 0.5, 0.0]]
    assert x.end.tolist() == [3.0, 2.5]
    assert x.last.tolist() == [[3.0], [5.0]]  # not the padding
    assert x[1:].values.tolist() == [[[4.0], [5.0], [0.0]]]
    assert x.map_values(torch.float64).values.dtype == torch.float64


def test_a_batch_moves_as_lightning_moves_batches():
    query = Query(torch.zeros(2, 1, dtype=torch.float64), torch.ones(2, 1, 1), torch.ones(2, 1, 1) > 0)
    x, moved = move_data_to_device((made(), query), torch.device("meta"))
    assert x.times.device.type == moved.values.device.type == "meta"
    assert moved.rates is None


def test_the_truth_is_unknown_where_nothing_was_observed():
    mask = torch.tensor([[[True, False]]])
    truth = Query(torch.zeros(1, 1), torch.tensor([[[3.0, 0.0]]]), mask).truth
    assert truth[0, 0, 0] == 3.0
    assert truth[0, 0, 1].isnan()
