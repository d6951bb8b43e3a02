"""Batches of made-up series: unequal lengths, times of their own, missing values."""

import pytest
import torch

from integrand.series import Series


def ragged(lengths=(9, 5, 1, 7), channels=3, missing=0.3, seed=0, static=0, dtype=torch.float64):
    """A batch of series of these lengths; a share `missing` of the values was not observed."""
    g = torch.Generator().manual_seed(seed)
    batch, n = len(lengths), max(lengths)
    number = torch.tensor(lengths)
    present = torch.arange(n) < number[:, None]
    times = (torch.rand(batch, n, generator=g, dtype=torch.float64) + 0.2).cumsum(dim=1)
    times = times.gather(1, torch.minimum(torch.arange(n), number[:, None] - 1))
    mask = present[..., None] & (torch.rand(batch, n, channels, generator=g) >= missing)
    values = torch.randn(batch, n, channels, generator=g, dtype=dtype) * mask
    return Series(times, values, mask, number, torch.randn(batch, static, generator=g, dtype=dtype))


def padded(x, more=3):
    """The batch with further padding."""
    times = torch.cat((x.times, x.times[:, -1:].expand(-1, more)), dim=1)
    blank = torch.zeros_like(x.values[:, :1]).expand(-1, more, -1)
    values, mask = torch.cat((x.values, blank), dim=1), torch.cat((x.mask, blank > 0), dim=1)
    return Series(times, values, mask, x.lengths, x.static)


@pytest.fixture(scope="session")
def series():
    """Makes a batch; see `ragged`."""
    return ragged


@pytest.fixture(scope="session")
def pad():
    """Adds padding to a batch; see `padded`."""
    return padded


@pytest.fixture(scope="session")
def same_alone(pad):
    """Checks that what a function says of a batch depends on neither padding, order nor company."""

    def check(said, x, **tolerance):
        whole = said(x)
        torch.testing.assert_close(said(pad(x)), whole, **tolerance)
        order = torch.arange(len(x)).flip(0)
        torch.testing.assert_close(said(x[order]), whole[order], **tolerance)
        for i in range(len(x)):
            n = int(x.lengths[i])
            one = Series(
                x.times[i : i + 1, :n],
                x.values[i : i + 1, :n],
                x.mask[i : i + 1, :n],
                x.lengths[i : i + 1],
                x.static[i : i + 1],
            )
            torch.testing.assert_close(said(one), whole[i : i + 1], **tolerance)

    return check
