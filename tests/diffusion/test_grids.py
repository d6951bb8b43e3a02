"""Time grids: their spacing, ends and errors."""

import math
from itertools import pairwise

import pytest
import torch
from diffusion_cases import F64, normal, zero_mean_mixture

from integrand.diffusion import (
    DDIM,
    EDM,
    VE,
    VP,
    CosineVP,
    DiscreteGrid,
    DiscreteVP,
    EDMGrid,
    ExplicitGrid,
    FlowPrediction,
    GridError,
    KarrasGrid,
    LinearFlow,
    LogSNRGrid,
    QuadraticGrid,
    ShiftedGrid,
    SubVP,
    UniformGrid,
)

PROCESSES = [VP(), SubVP(), VE(), EDM(), CosineVP(), DiscreteVP()]
SPACED = {
    "uniform": (UniformGrid, lambda p, t: t),
    "quadratic": (QuadraticGrid, lambda p, t: t.sqrt()),
    "log-snr": (LogSNRGrid, lambda p, t: p.log_snr(t)),
    "karras": (KarrasGrid, lambda p, t: torch.exp(-p.log_snr(t) / 7)),
}


@pytest.mark.parametrize("process", PROCESSES, ids=lambda p: p.describe())
@pytest.mark.parametrize("name", SPACED)
def test_steps_are_equal_in_the_grids_variable(name, process):
    grid, variable = SPACED[name]
    times = grid().times(process, 12)
    assert times.dtype == F64
    assert (float(times[0]), float(times[-1])) == (process.t_max, process.t_min)
    steps = variable(process, times).diff()
    torch.testing.assert_close(steps, steps[:1].expand(12), rtol=1e-7, atol=0)


@pytest.mark.parametrize("name", SPACED)
def test_to_zero_appends_the_data(name):
    grid, _ = SPACED[name]
    plain, extended = grid().times(VP(), 11), grid(to_zero=True).times(VP(), 12)
    assert torch.equal(extended[:-1], plain)
    assert float(extended[-1]) == 0
    assert grid(to_zero=True).times(VP(), 1).tolist() == [1.0, 0.0]


def test_edm_grid_is_the_papers():
    times = EDMGrid().times(EDM(), 18)
    n = 18
    expected = [(80 ** (1 / 7) + i / (n - 1) * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7 for i in range(n)] + [
        0.0
    ]
    torch.testing.assert_close(times, torch.tensor(expected, dtype=F64), rtol=1e-12, atol=0)


def test_karras_levels_on_another_process():
    process = VP()
    nodes = process.nodes(KarrasGrid(sigma_min=0.05, sigma_max=60.0).times(process, 5))
    assert nodes[0].rho == pytest.approx(60.0)
    assert nodes[-1].rho == pytest.approx(0.05)


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_shifted_times_multiply_the_noise_level(shift):
    """σ/α = t/(1 − t) of equal steps, times κ; κ = 1 is equal steps."""
    process = LinearFlow()
    u = torch.linspace(1, 0, 9, dtype=F64)
    times = ShiftedGrid(shift).times(process, 8)
    levels = [node.rho for node in process.nodes(times)[1:]]
    assert levels == pytest.approx((shift * u / (1 - u))[1:].tolist(), rel=1e-12)
    assert times[0] == 1
    inner = ShiftedGrid(shift, to_zero=False).times(process, 8)
    assert (inner[0], inner[-1]) == (1.0, process.t_min)
    # on a process of other units
    torch.testing.assert_close(ShiftedGrid(shift).times(EDM(), 8), 80 * times)


def test_ddim_on_the_linear_flow_is_eulers_method():
    """Euler's method on dx/dt = u over shifted times, and the first step from pure noise."""
    process, x = LinearFlow(), normal(4, 2)
    model = zero_mean_mixture(process, FlowPrediction())
    result = DDIM().sample(model, process, ShiftedGrid(3.0), x, steps=7, trajectory=True)
    times = ShiftedGrid(3.0).times(process, 7).tolist()
    state = x
    for n, (a, b) in enumerate(pairwise(times)):
        state = state + (b - a) * model(state, torch.full((4,), a, dtype=F64))
        torch.testing.assert_close(result.trajectory[n + 1], state, rtol=0, atol=1e-12)
    assert result.nfe == 7


def test_explicit():
    grid = ExplicitGrid([1.0, 0.3, 0.0])
    assert grid.to_zero
    assert grid.times(VP(), 2).tolist() == [1.0, 0.3, 0.0]
    with pytest.raises(GridError, match="explicit grid of 2"):
        grid.times(VP(), 3)
    with pytest.raises(GridError, match="do not decrease"):
        ExplicitGrid([0.1, 0.5]).times(VP(), 1)
    with pytest.raises(GridError, match="1 times make no step"):
        ExplicitGrid([0.5])


def test_errors():
    with pytest.raises(GridError, match=r"starts at t=0\.2 and ends at t=0\.5"):
        UniformGrid(t_start=0.2, t_end=0.5).times(VP(), 4)
    with pytest.raises(GridError, match="no whole steps"):
        DiscreteGrid().times(VP(), 4)
    with pytest.raises(GridError, match="at most 1000"):
        DiscreteGrid().times(DiscreteVP(), 1001)
    with pytest.raises(GridError, match="leave"):
        KarrasGrid(sigma_max=1e6).times(VP(), 4)


def test_log_snr_needs_signal_at_the_start():
    """α(1) = 0 of the full cosine has no λ: the default process stops before."""
    assert math.isfinite(CosineVP().node(CosineVP().t_max).log_snr)
