"""Two-stage and ancestral samplers: what they reduce to, and diffusers' step for step."""

import importlib
import math
from itertools import pairwise

import pytest
import torch
from diffusion_cases import F64, linear_moments, normal, zero_mean_mixture

from integrand.diffusion import (
    DDIM,
    DEISAB,
    DPM2,
    EDM,
    ERSDE,
    VP,
    AlignYourSteps,
    DataPrediction,
    DiscreteVP,
    DPMSolverPP2SAncestral,
    DPMSolverPPSDE,
    DPMSolverPPSinglestep,
    DPMSolverSDE,
    ExplicitGrid,
    GridError,
    KarrasGrid,
    LogSNRGrid,
    Stream,
)
from integrand.errors import UsageError

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
BATCH = 5


class Drawn:
    def normals(self, n, stream=Stream.STEP):
        return normal(BATCH, 2, seed=n)


def run(sampler, process, grid, x, steps=None):
    model = zero_mean_mixture(process)
    return sampler.sample(model, process, grid, x, Drawn(), steps=steps, trajectory=True)


@pytest.mark.parametrize(
    ("sampler", "other"),
    [
        (ERSDE(1, "ode"), DDIM()),
        (ERSDE(1, "sde"), DDIM(1.0)),
        (DPMSolverPPSDE(0.0), DPMSolverPP2SAncestral(0.0)),
    ],
    ids=["er-sde ode", "er-sde sde", "sde without noise"],
)
@pytest.mark.parametrize("process", [VP(), EDM()], ids=lambda p: p.describe())
def test_what_they_reduce_to(sampler, other, process):
    x = process.prior_std() * normal(BATCH, 2)
    ours, theirs = (run(s, process, KarrasGrid(to_zero=True), x, 12) for s in (sampler, other))
    # rounding on states of the prior's size
    torch.testing.assert_close(ours.x, theirs.x, rtol=0, atol=1e-11 * process.prior_std())


def test_2s_without_noise_is_the_singlestep_solver_on_twice_as_many_intervals():
    process, x = VP(), normal(BATCH, 2)
    ours = run(DPMSolverPP2SAncestral(0.0), process, LogSNRGrid(), x, 8)
    theirs = run(DPMSolverPPSinglestep(2), process, LogSNRGrid(), x, 16)
    assert ours.nfe == theirs.nfe == 16
    torch.testing.assert_close(ours.x, theirs.x, rtol=0, atol=1e-12)


@pytest.mark.parametrize("order", [2, 3])
def test_er_sde_integrates_data_that_are_linear_in_the_level(order):
    """Then order 2 is exact, and the second difference vanishes: y_b = r y + φ_b ∫ D d(−1/φ), by the trapezoidal rule."""

    def data(rho):
        return 0.3 - 0.2 * rho

    class Line:
        parametrisation, conditional = DataPrediction(), False

        def __call__(self, x, t):
            return data(t).unsqueeze(1).expand_as(x)

    grid = ExplicitGrid([4.0, 3.0, 2.2, 1.5, 1.0])
    states = ERSDE(order, "ode").sample(Line(), EDM(), grid, normal(1, 1), trajectory=True).trajectory
    for n, (a, b) in enumerate([(2.2, 1.5), (1.5, 1.0)], start=2):
        rho = torch.linspace(b, a, 20001, dtype=F64)
        exact = b / a * states[n] + b * torch.trapezoid(data(rho) / rho**2, rho)
        # the rule's error is h² f'/12, 1e-9
        assert float(states[n + 1] - exact) == pytest.approx(0.0, abs=1e-8)


def test_the_third_order_with_noise_has_weak_order_2():
    """Between λ = ±2.3, where its error is not yet that of a higher order."""
    process = VP(beta_max=40.0)
    grid, end = LogSNRGrid(process.node_at(-2.3).t, process.node_at(2.3).t), process.node_at(2.3)
    exact = 0.25 * end.alpha**2 + end.sigma**2
    sampler = DPMSolverSDE(3, lower_order_final=False)
    a, b = (abs(linear_moments(sampler, process, grid, n, 1.0, 0.5)[1] - exact) for n in (72, 144))
    assert math.log2(a / b) == pytest.approx(2, abs=0.2)


# --- diffusers -------------------------------------------------------------------------------------------


def scheduler(name):
    return getattr(importlib.import_module("diffusers"), name)()


def edm_case():
    process, grid = EDM(), KarrasGrid(to_zero=True)
    return process, grid, 80 * normal(BATCH, 2), grid.times(process, 10)


def doubled(levels):
    return torch.cat((levels[:1], levels[1:-1].repeat_interleave(2), levels[-1:]))


def theirs_of(theirs, process, x, levels):
    """Every second state of a scheduler of two stages, given the level that each call is evaluated at."""
    model, states = zero_mean_mixture(process), [x]
    for n, level in enumerate(levels):
        output = model(x, torch.full((BATCH,), float(level), dtype=F64))
        x = theirs.step(output, theirs.timesteps[n], x).prev_sample
        states.append(x)
    return [*states[::2], states[-1]] if len(levels) % 2 else states[::2]


def agree(ours, theirs, tolerance):
    for n, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        assert float((a - b).abs().max()) <= tolerance * float(ours[0].abs().max()), n


def test_dpm2_ancestral(monkeypatch):
    process, grid, x, levels = edm_case()
    theirs = scheduler("KDPM2AncestralDiscreteScheduler")
    theirs.set_timesteps(10)
    after = torch.cat((levels[1:], levels[-1:]))
    up = (after**2 * (levels**2 - after**2) / levels**2).nan_to_num().sqrt()
    down = (after**2 - up**2).sqrt()
    between = levels.log().lerp(down.log(), 0.5).exp()
    between[-2:] = 0.0

    def twice(v):
        return torch.cat((v[:1], v[1:].repeat_interleave(2), v[-1:]))

    theirs.sigmas, theirs.sigmas_interpol = twice(levels), twice(between)
    theirs.sigmas_up, theirs.sigmas_down = twice(up), twice(down)
    theirs.set_begin_index(0)
    module = importlib.import_module("diffusers.schedulers.scheduling_k_dpm_2_ancestral_discrete")
    numbers = iter([Drawn().normals(n) for n in range(10)])
    monkeypatch.setattr(module, "randn_tensor", lambda *_, **__: next(numbers))
    called = [v for pair in zip(levels[:9], between[:9], strict=True) for v in pair]
    others = theirs_of(theirs, process, x, called)
    agree(run(DPM2(1.0), process, grid, x, 10).trajectory[:10], others, 1e-12)


def test_dpm_sde():
    pytest.importorskip("torchsde")
    process, grid, x, levels = edm_case()
    theirs = scheduler("DPMSolverSDEScheduler")
    theirs.set_timesteps(10)
    theirs.sigmas = doubled(levels)
    theirs.set_begin_index(0)
    at = dict(zip(levels.tolist(), range(11), strict=True))

    def increments(start, stop):
        """Normalised increments of one path from a level of the grid, to the middle or to the next level."""
        n = at[min(at, key=lambda v: abs(v - float(start)))]
        high, low = float(levels[n]), float(levels[n + 1])
        middle, z1, z2 = math.sqrt(high * low), *(Drawn().normals(2 * n + k) for k in (0, 1))
        if abs(float(stop) - middle) < 1e-9 * high:
            return z1
        return ((high - middle) ** 0.5 * z1 + (middle - low) ** 0.5 * z2) / (high - low) ** 0.5

    theirs.noise_sampler = increments
    called = [v for a, b in pairwise(levels[:10]) for v in (a, (a * b).sqrt())]
    others = theirs_of(theirs, process, x, called)
    agree(run(DPMSolverPPSDE(), process, grid, x, 10).trajectory[:10], others, 1e-12)


def test_lms_is_deis_in_the_level():
    """Adams–Bashforth of order 4 on dx/dσ; theirs integrates by quadrature to 1e-4."""
    process, grid, x, levels = edm_case()
    theirs = scheduler("LMSDiscreteScheduler")
    theirs.set_timesteps(10)
    theirs.sigmas = levels
    theirs.set_begin_index(0)
    model, states = zero_mean_mixture(process), [x]
    for n in range(9):
        output = model(states[-1], torch.full((BATCH,), float(levels[n]), dtype=F64))
        states.append(theirs.step(output, theirs.timesteps[n], states[-1]).prev_sample)
    ours = run(DEISAB(3, "rho", lower_order_final=False), process, grid, x, 10)
    agree(ours.trajectory[:10], states, 1e-6)


# --- settings and grids ----------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [DPM2, DPMSolverPP2SAncestral, DPMSolverPPSDE])
def test_eta_lies_in_the_unit_interval(cls):
    with pytest.raises(UsageError, match=r"eta must lie in \[0, 1\]"):
        cls(1.5)


@pytest.mark.parametrize("fitted", ["sd", "sdxl", "svd"])
def test_align_your_steps_is_diffusers_table_at_ten_steps(fitted):
    from diffusers.schedulers import AysSchedules

    process = (
        DiscreteVP("scaled-linear", beta_min=0.00085, beta_max=0.012) if fitted != "svd" else EDM(0.002, 700)
    )
    times = AlignYourSteps(fitted).times(process, 10)
    assert times[-1] == 0
    if fitted == "svd":
        expected = torch.tensor(AysSchedules["StableDiffusionVideoSigmas"][:-1], dtype=F64)
        torch.testing.assert_close(times[:-1], expected)
    else:
        name = {"sd": "StableDiffusionTimesteps", "sdxl": "StableDiffusionXLTimesteps"}[fitted]
        assert process.index(times[:-1]).round().long().tolist() == AysSchedules[name]


def test_align_your_steps_between_its_ten():
    """Twenty levels are even in log σ between the ten: every second of nineteen intervals' ends would be one of them."""
    process = EDM(0.002, 700)
    ten, nineteen = (AlignYourSteps("svd").times(process, n)[:-1].log() for n in (10, 19))
    torch.testing.assert_close(nineteen[::2], ten)
    torch.testing.assert_close(nineteen[1::2], (ten[1:] + ten[:-1]) / 2)
    with pytest.raises(GridError, match="fitted to"):
        AlignYourSteps("sd").times(process, 10)
