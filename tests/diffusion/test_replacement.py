"""What is known comes out, and independent pixels beside it are as without it."""

import pytest
import torch
from diffusion_cases import F64, normal
from torch.nn import functional as F

from integrand.diffusion import (
    DDIM,
    VP,
    DataPrediction,
    DPMSolverPPMultistep,
    KnownAverage,
    KnownPixels,
    LogSNRGrid,
)
from integrand.errors import UsageError

PROCESS = VP()
GRID = LogSNRGrid(to_zero=True)


class Gaussian:
    """Pixels N(0.2, 0.5²), independent: x̂_0 of each follows from that pixel alone."""

    parametrisation, conditional = DataPrediction(), False

    def __call__(self, x, t):
        alpha, sigma = PROCESS.alpha(t).view(-1, 1, 1, 1), PROCESS.sigma(t).view(-1, 1, 1, 1)
        return 0.2 + alpha * 0.25 / (alpha**2 * 0.25 + sigma**2) * (x - alpha * 0.2)


@pytest.mark.parametrize("sampler", [DDIM(), DPMSolverPPMultistep(2)], ids=lambda s: s.describe())
def test_known_pixels_come_out_and_the_others_are_untouched(sampler):
    x, values = normal(3, 1, 4, 4), normal(1, 4, 4, seed=1)
    mask = torch.zeros(1, 4, 4)
    mask[:, :, :2] = 1
    plain = sampler.sample(Gaussian(), PROCESS, GRID, x, steps=12).x
    out = sampler.sample(Gaussian(), PROCESS, GRID, x, steps=12, constraint=KnownPixels(values, mask)).x
    torch.testing.assert_close(out[..., :2], values[..., :2].expand(3, 1, 4, 2), rtol=0, atol=1e-12)
    torch.testing.assert_close(out[..., 2:], plain[..., 2:], rtol=0, atol=1e-12)


def test_known_averages_come_out_and_the_detail_is_untouched():
    x, small = normal(3, 1, 4, 4), normal(3, 1, 2, 2, seed=1)
    plain = DDIM().sample(Gaussian(), PROCESS, GRID, x, steps=12).x
    out = DDIM().sample(Gaussian(), PROCESS, GRID, x, steps=12, constraint=KnownAverage(small, 2)).x
    torch.testing.assert_close(F.avg_pool2d(out, 2), small, rtol=0, atol=1e-12)
    detail = [z - F.interpolate(F.avg_pool2d(z, 2), scale_factor=2) for z in (plain, out)]
    # Gaussian pixels: the difference of two pixels of a square evolves by itself
    torch.testing.assert_close(detail[1], detail[0], rtol=0, atol=1e-12)
    assert out.dtype == F64


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(UsageError, match="factor=1 enlarges nothing"):
        KnownAverage(torch.zeros(1, 4, 4), 1)
    with pytest.raises(UsageError, match="have no averages"):
        KnownAverage(torch.zeros(1, 3, 3), 2)(torch.zeros(2, 1, 4, 4))
