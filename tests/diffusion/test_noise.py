"""Numbers depend on seed, stream, draw and sample, and on nothing else."""

import math

import pytest
import torch
from diffusion_cases import F64

from integrand.diffusion import SampleNoise, Stream
from integrand.diffusion.random_numbers import block_size


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 8, 8), (2,), (1,), (5, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_any_cut_of_the_batch_gets_the_same_numbers(shape, dtype):
    block = block_size(shape)
    total = 2 * block + 3
    whole = SampleNoise(7, (total, *shape), dtype=dtype)
    for first, last in ((0, 1), (block - 1, block + 1), (block, 2 * block), (3, total)):
        part = SampleNoise(7, (last - first, *shape), first, dtype)
        for stream in (Stream.PRIOR, Stream.STEP):
            for n in (0, 1, 17):
                assert torch.equal(part.normals(n, stream), whole.normals(n, stream)[first:last])


def test_numbers_can_be_drawn_in_any_order_and_again():
    a, b = SampleNoise(0, (4, 3)), SampleNoise(0, (4, 3))
    forwards = [a.normals(n) for n in range(40)]
    backwards = [b.normals(n) for n in reversed(range(40))]
    assert all(torch.equal(x, y) for x, y in zip(forwards, reversed(backwards), strict=True))


def test_seeds_streams_draws_and_samples_differ():
    block = block_size((4,))
    drawn = [
        SampleNoise(seed, (4, 4), first).normals(n, stream)
        for seed in (0, 1)
        for first in (0, block)
        for stream in Stream
        for n in (0, 1, 16)
    ]
    rows = torch.cat(drawn)
    assert len(torch.unique(rows, dim=0)) == len(rows)


def test_numbers_are_standard_and_independent():
    """Mean, variance, kurtosis and correlation across draws, samples and streams, to 4.5 standard errors."""
    noise, n = SampleNoise(11, (2000, 8), dtype=F64), 16000
    a, b, c = noise.normals(0), noise.normals(1), noise.normals(0, Stream.CORRECTOR)
    for x in (a, b, c):
        assert abs(float(x.mean())) < 4.5 / math.sqrt(n)
        assert abs(float(x.var()) - 1) < 4.5 * math.sqrt(2 / n)
        assert abs(float(x.pow(4).mean()) - 3) < 4.5 * math.sqrt(96 / n)
    for x, y in ((a, b), (a, c), (a[:-1], a[1:]), (a[:1000], a[1000:])):
        assert abs(float((x * y).mean())) < 4.5 / math.sqrt(x.numel())


def test_values_are_pinned():
    """Samples of an old run must come again: changing these numbers breaks every recorded seed."""
    drawn = SampleNoise(0, (2, 2), dtype=F64).normals(3).flatten().tolist()
    assert drawn == pytest.approx([0.348796738765, 1.080727357753, 2.194776685022, 0.171262161844], abs=1e-11)
