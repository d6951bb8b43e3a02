"""Restart and RePaint: steps back to more noise, and down again."""

import importlib
import math
from itertools import pairwise

import pytest
import torch
from diffusion_cases import F64, linear_moments, normal, zero_mean_mixture

from integrand.diffusion import (
    DDIM,
    EDM,
    VP,
    Ancestral,
    DataPrediction,
    DiscreteGrid,
    DiscreteVP,
    DPMSolverAdaptive,
    DPMSolverPPMultistep,
    EDMGrid,
    GridError,
    Heun,
    KarrasGrid,
    LogSNRGrid,
    RePaint,
    Restart,
    RestartInterval,
    SampleNoise,
    Stream,
    UniformGrid,
    draw_prior,
)
from integrand.diffusion.samplers.repaint import leaps
from integrand.errors import UsageError

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


# --- Restart ---------------------------------------------------------------------------------------------


def test_restarts_keep_the_marginal_to_the_order_of_the_base():
    """Variance of Gaussian data by exact moments; main and restart steps double together: order 2 of Heun.

    Noise of the wrong size would leave an error that no step removes.
    """
    process = EDM(0.02, 10.0)
    exact, errors = 0.5**2 + 0.02**2, []
    for steps in (40, 80, 160):
        again = [RestartInterval(0.3, 2.0, steps // 4, 2), RestartInterval(0.06, 0.3, steps // 4, 1)]
        sampler = Restart(Heun(), again)
        sampler.draws_per_step = 2  # numbers are counted by transition, the further ones too
        errors.append(abs(linear_moments(sampler, process, LogSNRGrid(), steps, 1.0, 0.5)[1] - exact))
    for a, b in pairwise(errors):
        assert math.log2(a / b) == pytest.approx(2, abs=0.2), errors


def test_the_published_setting_makes_43_evaluations():
    process, x = EDM(), 80 * normal(3, 2)
    noise = SampleNoise(0, x.shape, dtype=F64)
    result = Restart().sample(zero_mean_mixture(process), process, EDMGrid(), x, noise, steps=18)
    assert result.nfe == 43
    times = result.times.tolist()
    up = [i for i, (a, b) in enumerate(pairwise(times)) if b > a]
    # both from the same level of the grid, the nearest to 0.06, up to 0.3
    assert len(up) == 2
    assert len({times[i] for i in up}) == 1
    levels = EDMGrid().times(process, 18)
    assert times[up[0]] == float(levels[(levels - 0.06).abs().argmin()])
    assert all(times[i + 1] == pytest.approx(0.3, rel=1e-12) for i in up)
    # N_R = 3 points of Karras's levels
    middle = (0.5 * (0.3 ** (1 / 7) + times[up[0]] ** (1 / 7))) ** 7
    assert times[up[0] + 2] == pytest.approx(middle, rel=1e-12)


def test_a_restart_is_noise_and_the_bases_own_steps():
    """One restart by hand, with the base's steps on a grid of its own."""
    process, x = EDM(0.1, 10.0), 10 * normal(4, 2)
    model, noise = zero_mean_mixture(process), SampleNoise(0, x.shape, dtype=F64)
    grid = KarrasGrid()
    sampler = Restart(DDIM(), [RestartInterval(0.1, 1.0, 3, 1)])
    whole = sampler.sample(model, process, grid, x, noise, steps=6)
    first = DDIM().sample(model, process, grid, x, steps=6).x
    lifted = first + math.sqrt(1.0 - 0.1**2) * noise.normals(6, Stream.JUMP)
    again = DDIM().sample(model, process, KarrasGrid(sigma_max=1.0), lifted, steps=3).x
    assert whole.nfe == 9
    torch.testing.assert_close(whole.x, again, rtol=0, atol=1e-11)


# --- RePaint ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("jump", "resamples"), [(1, 3), (3, 2), (10, 10), (7, 1)])
def test_the_schedule_is_diffusers(jump, resamples):
    from diffusers import RePaintScheduler

    theirs = RePaintScheduler(num_train_timesteps=20)
    theirs.set_timesteps(20, jump, resamples)
    visited = [20, *theirs.timesteps.tolist()]  # theirs goes back one by one
    ours = [20 - k for k in leaps(20, jump, resamples)]
    assert [b for a, b in pairwise(ours) if b < a] == [b for a, b in pairwise(visited) if b < a]
    assert all(b - a == jump for a, b in pairwise(ours) if b > a)


class Same:
    """One set of numbers for what is known and for the step, as diffusers reuses them."""

    def normals(self, n, stream=Stream.STEP):
        return normal(4, 2, seed=n)


def test_repaint_is_diffusers(monkeypatch):
    from diffusers import RePaintScheduler

    process = DiscreteVP(betas=torch.linspace(0.01, 0.6, 20, dtype=F64).tolist())
    model, grid, x = zero_mean_mixture(process), DiscreteGrid(), normal(4, 2, seed=99)
    values, mask = torch.tensor([0.7, 0.0], dtype=F64), torch.tensor([1.0, 0.0], dtype=F64)
    theirs = RePaintScheduler(num_train_timesteps=20, eta=1.0, clip_sample=False)
    theirs.set_timesteps(20, 1, 3)
    nodes = process.nodes(grid.times(process, 20))
    theirs.alphas_cumprod = torch.tensor([node.alpha**2 for node in reversed(nodes[:-1])], dtype=F64)
    theirs.final_alpha_cumprod = torch.tensor(1.0, dtype=F64)
    previous = torch.cat((theirs.alphas_cumprod.new_ones(1), theirs.alphas_cumprod[:-1]))
    theirs.betas = 1 - theirs.alphas_cumprod / previous
    # a number for each transition, in their order, which is ours where a leap is one step
    numbers = iter(range(1000))
    module = importlib.import_module("diffusers.schedulers.scheduling_repaint")
    monkeypatch.setattr(module, "randn_tensor", lambda *_, **__: normal(4, 2, seed=next(numbers)))
    state, last, states = x, 20, [x]
    for t in theirs.timesteps.tolist():
        if t < last:
            output = model(state, torch.full((4,), (t + 1) / 20, dtype=F64))
            state = theirs.step(output, t, state, values, mask).prev_sample
        else:
            state = theirs.undo_step(state, last)
        states.append(state)
        last = t
    ours = RePaint(values, mask, 1, 3).sample(model, process, grid, x, Same(), steps=20, trajectory=True)
    assert len(ours.trajectory) == len(states)
    for n, (a, b) in enumerate(zip(ours.trajectory, states, strict=True)):
        assert float((a - b).abs().max()) < 1e-10, n


class Correlated:
    """Two unit normals of correlation c."""

    parametrisation, conditional = DataPrediction(), False

    def __init__(self, process, c=0.9):
        self.process, self.cov = process, torch.tensor([[1.0, c], [c, 1.0]], dtype=F64)

    def __call__(self, x, t):
        node = self.process.node(float(t[0]))
        whole = node.alpha**2 * self.cov + node.sigma**2 * torch.eye(2, dtype=F64)
        return node.alpha * x @ torch.linalg.solve(whole, self.cov)


def test_resampling_brings_the_rest_to_what_is_known():
    """Given x₁ = 1, x₂ has mean 0.9; a mean of 4000 samples has a deviation of at most 1/63."""
    process, grid = VP(), LogSNRGrid(to_zero=True)
    values, mask = torch.tensor([1.0, 0.0], dtype=F64), torch.tensor([1.0, 0.0], dtype=F64)
    means = []
    for resamples in (1, 10):
        noise = SampleNoise(0, (4000, 2), dtype=F64)
        x = draw_prior(process, grid, noise)
        out = RePaint(values, mask, 2, resamples).sample(Correlated(process), process, grid, x, noise, steps=30).x  # fmt: skip
        assert torch.equal(out[:, 0], torch.ones(4000, dtype=F64))
        means.append(float(out[:, 1].mean()))
    assert abs(means[1] - 0.9) < 0.5 * abs(means[0] - 0.9)
    assert abs(means[1] - 0.9) < 0.1


# --- refusals --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "base", [DPMSolverPPMultistep(2), DPMSolverAdaptive()], ids=["multistep", "adaptive"]
)
def test_a_base_that_cannot_go_back_is_refused(base):
    with pytest.raises(UsageError, match="goes back in time"):
        Restart(base)
    with pytest.raises(UsageError, match="goes back in time"):
        RePaint(torch.zeros(2), torch.ones(2), base=base)


def test_settings_and_grids_that_do_not_fit_are_refused():
    with pytest.raises(UsageError, match="low"):
        RestartInterval(1.0, 0.5)
    with pytest.raises(UsageError, match="repeats"):
        RestartInterval(repeats=0)
    with pytest.raises(UsageError, match="jump=0"):
        RePaint(torch.zeros(2), torch.ones(2), jump=0)
    with pytest.raises(UsageError, match="does not cover"):
        RePaint(torch.zeros(2), torch.ones(3))
    process, x = VP(), normal(3, 2)
    with pytest.raises(GridError, match="to restart at: the nearest is"):
        Restart().sample(
            zero_mean_mixture(process),
            process,
            UniformGrid(t_end=0.5),
            x,
            SampleNoise(0, x.shape, dtype=F64),
            steps=5,
        )


def test_values_of_another_shape_are_refused():
    process, x = VP(), normal(3, 2)
    sampler = RePaint(torch.zeros(4), torch.ones(4), base=Ancestral())
    with pytest.raises(UsageError, match="known values"):
        sampler.sample(
            zero_mean_mixture(process), process, LogSNRGrid(), x, SampleNoise(0, x.shape, dtype=F64), steps=5
        )
