"""Step for step against diffusers' scheduler of the same name and settings.

diffusers keeps its tables in float32; they are replaced by the process's own in float64, so that what is
compared is the update. `test_processes.py` compares the tables.
"""

import importlib
import math
from itertools import pairwise

import pytest
import torch
from diffusion_cases import F64, normal, zero_mean_mixture

from integrand.diffusion import (
    DDIM,
    DEISAB,
    EDM,
    IPNDM,
    PLMS,
    PNDM,
    VE,
    VP,
    Ancestral,
    Clip,
    CosineVP,
    DiscreteGrid,
    DPMSolverMultistep,
    DPMSolverPPMultistep,
    DPMSolverPPSinglestep,
    DPMSolverSDE,
    DPMSolverSinglestep,
    EDMPreconditioning,
    EulerMaruyama,
    ExplicitGrid,
    Heun,
    KarrasGrid,
    LogSNRGrid,
    Prediction,
    PredictorCorrector,
    SASolver,
    ScorePrediction,
    Stream,
    UniPC,
    VelocityPrediction,
)

SCHEDULERS = "diffusers.schedulers"
# their use of NumPy, and schedulers that they keep but call deprecated
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
BATCH = 5


class Drawn:
    """The same numbers for both sides."""

    def __init__(self, batch=BATCH):
        self.shape = (batch, 2)

    def normals(self, n, stream=Stream.STEP):
        return normal(*self.shape, seed=1000 * stream + n)


@pytest.fixture
def feed(monkeypatch):
    """Give a scheduler module prepared normals instead of its own."""

    def prepare(module, numbers):
        queue = iter(numbers)
        target = importlib.import_module(f"{SCHEDULERS}.{module}")
        monkeypatch.setattr(target, "randn_tensor", lambda *_, **__: next(queue))

    return prepare


def scheduler(name, module=None, **options):
    cls = getattr(importlib.import_module(f"{SCHEDULERS}.{module}" if module else "diffusers"), name)
    return cls(**options)


def model_at(process, model, t):
    """The mixture's noise at one time of the process."""
    return lambda x: model(x, torch.full((len(x),), t, dtype=F64))


def agree(states, others, tolerance=1e-10):
    # float64 on both sides, states of size 1 (or σ_max): rounding only
    scale = max(1.0, float(states[0].abs().max()))
    for n, (a, b) in enumerate(zip(states, others, strict=True)):
        assert (a - b).abs().max() <= tolerance * scale, f"state {n}: {(a - b).abs().max():.2e}"


# --- DDPM's steps ----------------------------------------------------------------------------------------


def discrete_run(theirs, process, model, x, steps, **step_options):
    """diffusers' loop on whole steps, with its table in float64."""
    theirs.alphas_cumprod = process.alpha(process.time_of_index(torch.arange(1000))).square()
    theirs.one = theirs.final_alpha_cumprod = torch.tensor(1.0, dtype=F64)
    alphas = theirs.alphas_cumprod / torch.cat((theirs.one.view(1), theirs.alphas_cumprod[:-1]))
    theirs.alphas, theirs.betas = alphas, 1 - alphas
    theirs.set_timesteps(steps)
    states = [x]
    for k in theirs.timesteps:
        output = model_at(process, model, float(process.time_of_index(k)))(x)
        x = theirs.step(output, int(k), x, **step_options).prev_sample
        states.append(x)
    return states


@pytest.mark.parametrize("spacing", ["leading", "linspace", "trailing"])
@pytest.mark.parametrize("steps", [10, 7, 50])
def test_discrete_grid_has_diffusers_timesteps(spacing, steps, ddpm):
    theirs = scheduler("DDIMScheduler", timestep_spacing=spacing)
    theirs.set_timesteps(steps)
    times = DiscreteGrid(spacing).times(ddpm, steps)
    ours = ddpm.index(times[:-1])
    torch.testing.assert_close(ours.round(), ours, rtol=0, atol=1e-9)
    assert ours.round().long().tolist() == theirs.timesteps.tolist()
    assert times[-1] == 0


@pytest.mark.parametrize(("eta", "constraint"), [(0.0, None), (0.5, None), (1.0, None), (0.0, Clip(0.7))])
def test_ddim(eta, constraint, ddpm, feed):
    clip = {"clip_sample": constraint is not None, "clip_sample_range": 0.7}
    theirs = scheduler("DDIMScheduler", timestep_spacing="trailing", set_alpha_to_one=True, **clip)
    feed("scheduling_ddim", [Drawn().normals(n) for n in range(10)])
    model, x = zero_mean_mixture(ddpm), normal(BATCH, 2)
    # with clipping, the noise is that of the clipped x_0 here
    others = discrete_run(
        theirs, ddpm, model, x, 10, eta=eta, use_clipped_model_output=constraint is not None
    )
    ours = DDIM(eta).sample(
        model, ddpm, DiscreteGrid("trailing"), x, Drawn(), steps=10, constraint=constraint, trajectory=True
    )
    agree(ours.trajectory, others)


@pytest.mark.parametrize(
    ("variance", "theirs_variance"), [("posterior", "fixed_small"), ("beta", "fixed_large")]
)
@pytest.mark.parametrize("steps", [10, 1000])
def test_ddpm(variance, theirs_variance, steps, ddpm, feed):
    theirs = scheduler(
        "DDPMScheduler", variance_type=theirs_variance, clip_sample=False, timestep_spacing="trailing"
    )
    feed("scheduling_ddpm", [Drawn().normals(n) for n in range(steps)])
    model, x = zero_mean_mixture(ddpm), normal(BATCH, 2)
    others = discrete_run(theirs, ddpm, model, x, steps)
    ours = Ancestral(variance).sample(
        model, ddpm, DiscreteGrid("trailing"), x, Drawn(), steps=steps, trajectory=True
    )
    # with few steps theirs adds noise to the step to the data too, unless that starts at k = 0 exactly
    noisy_end = steps == 10
    # diffusers floors the variance at 1e-20 and takes 1 − ᾱ by subtraction: 1e-16/1e-4 at the first steps
    agree(ours.trajectory[: steps + 1 - noisy_end], others[: steps + 1 - noisy_end], 1e-9)


@pytest.mark.parametrize(("sampler", "skip"), [(PLMS(), True), (PNDM(), False)])
def test_pndm(sampler, skip, ddpm):
    theirs = scheduler(
        "PNDMScheduler", skip_prk_steps=skip, set_alpha_to_one=True, timestep_spacing="leading"
    )
    model, x = zero_mean_mixture(ddpm), normal(BATCH, 2)
    others = discrete_run(theirs, ddpm, model, x, 20)
    ours = sampler.sample(model, ddpm, DiscreteGrid("leading"), x, steps=20, trajectory=True)
    assert ours.nfe == len(others) - 1
    # their states inside the start are stages, not steps: the first of PLMS, eleven of PNDM
    kept = [others[0], *others[2:]] if skip else [others[0], others[4], others[8], *others[12:]]
    agree(ours.trajectory, kept)


def test_ipndm():
    """IPNDM runs on v = ε cos − x_0 sin; its first step, from α = 0, has no λ and is left out on both sides."""
    process = CosineVP(s=0.0, t_max=1.0)
    theirs = scheduler("IPNDMScheduler")
    theirs.set_timesteps(20)
    k = torch.linspace(1, 0, 21, dtype=F64)[1:]
    theirs.betas = torch.sin(k * math.pi / 2) ** 2
    theirs.alphas = (1 - theirs.betas**2) ** 0.5
    theirs.timesteps = (torch.atan2(theirs.betas, theirs.alphas) / math.pi * 2)[:-1]
    model, x = zero_mean_mixture(process, VelocityPrediction()), normal(BATCH, 2)
    others, y = [x], x
    for t in theirs.timesteps:
        y = theirs.step(model_at(process, model, float(t))(y), t, y).prev_sample
        others.append(y)
    grid = ExplicitGrid([*theirs.timesteps.tolist(), 0.0])
    agree(IPNDM().sample(model, process, grid, x, trajectory=True).trajectory, others)


# --- schedulers that run on σ/α --------------------------------------------------------------------------


def sigma_run(theirs, process, model, x, times):
    """diffusers' loop on the given times, with its σ/α in float64."""
    nodes = process.nodes(times)
    theirs.set_timesteps(len(nodes) - 1)
    theirs.sigmas = torch.tensor([node.rho for node in nodes], dtype=F64)
    theirs.set_begin_index(0)
    states = [x]
    for n, node in enumerate(nodes[:-1]):
        x = theirs.step(model_at(process, model, node.t)(x), theirs.timesteps[n], x).prev_sample
        states.append(x)
    return states


def compare_on_sigmas(sampler, theirs, process, grid, steps, tolerance=1e-10, every=1):
    model, x = zero_mean_mixture(process), normal(BATCH, 2)
    times = grid.times(process, steps)
    others = sigma_run(theirs, process, model, x, times)
    ours = sampler.sample(model, process, grid, x, Drawn(), steps=steps, trajectory=True)
    agree(ours.trajectory, others[::every], tolerance)


# their multistep scheduler rounds every state to float32
FLOAT32 = 2e-5


@pytest.mark.parametrize("second", ["midpoint", "heun"])
@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("steps", [8, 16])
@pytest.mark.parametrize("form", ["dpmsolver", "dpmsolver++"])
def test_dpm_solver_multistep(form, steps, order, second, ddpm):
    """Fewer than 15 steps end at lower order in both; order 3 takes half the second derivative."""
    theirs = scheduler(
        "DPMSolverMultistepScheduler",
        algorithm_type=form,
        solver_order=order,
        solver_type=second,
        final_sigmas_type="sigma_min",
    )
    cls = DPMSolverMultistep if form == "dpmsolver" else DPMSolverPPMultistep
    compare_on_sigmas(cls(order, second), theirs, ddpm, LogSNRGrid(), steps, FLOAT32)


def test_dpm_solver_multistep_to_the_data(ddpm):
    theirs = scheduler("DPMSolverMultistepScheduler", final_sigmas_type="zero")
    compare_on_sigmas(DPMSolverPPMultistep(2), theirs, ddpm, KarrasGrid(to_zero=True), 16, FLOAT32)


@pytest.mark.parametrize("second", ["midpoint", "heun"])
@pytest.mark.parametrize("order", [1, 2])
def test_dpm_solver_sde(order, second, ddpm, feed):
    theirs = scheduler(
        "DPMSolverMultistepScheduler",
        algorithm_type="sde-dpmsolver++",
        solver_order=order,
        solver_type=second,
        final_sigmas_type="sigma_min",
    )
    feed("scheduling_dpmsolver_multistep", [Drawn().normals(n) for n in range(16)])
    compare_on_sigmas(DPMSolverSDE(order, second), theirs, ddpm, LogSNRGrid(), 16, FLOAT32)


@pytest.mark.parametrize("stages", ["midpoint", "heun"])
@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("grid", [LogSNRGrid(), KarrasGrid()], ids=["even", "uneven"])
@pytest.mark.parametrize("form", ["dpmsolver", "dpmsolver++"])
def test_dpm_solver_singlestep(form, grid, order, stages, ddpm):
    """Their stages are the grid's times, wherever these lie between a step's ends."""
    theirs = scheduler(
        "DPMSolverSinglestepScheduler",
        algorithm_type=form,
        solver_order=order,
        solver_type=stages,
        final_sigmas_type="sigma_min",
        lower_order_final=False,
    )
    cls = DPMSolverSinglestep if form == "dpmsolver" else DPMSolverPPSinglestep
    sampler = cls(order, stages, lower_order_final=False)
    compare_on_sigmas(sampler, theirs, ddpm, grid, 12, every=order)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [(9, [3, 3, 2, 1]), (10, [3, 3, 3, 1]), (11, [3, 3, 3, 2]), (3, [2, 1]), (1, [1])],
)
def test_singlestep_orders_are_the_authors(steps, expected, ddpm):
    """`get_orders_and_timesteps_for_singlestep_solver`; even in λ, K steps are equally long whatever their order."""
    model, x = zero_mean_mixture(ddpm), normal(BATCH, 2)
    for grid in (LogSNRGrid(), KarrasGrid()):
        ours = DPMSolverPPSinglestep(3).sample(model, ddpm, grid, x, steps=steps)
        assert ours.nfe == steps
        if isinstance(grid, LogSNRGrid):
            times = grid.times(ddpm, len(expected))
        else:
            times = grid.times(ddpm, steps)[torch.tensor([0, *expected]).cumsum(0)]
        torch.testing.assert_close(ours.times, times, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("lowered", [False, True])
@pytest.mark.parametrize("corrector", [False, True])
@pytest.mark.parametrize("variant", ["bh1", "bh2"])
@pytest.mark.parametrize("p", [1, 2, 3])
def test_unipc(p, variant, corrector, lowered, ddpm):
    """A state is what the predictor made of it; the corrector acts at the next step, here as there."""
    theirs = scheduler(
        "UniPCMultistepScheduler",
        solver_order=p,
        solver_type=variant,
        disable_corrector=[] if corrector else list(range(20)),
        lower_order_final=lowered,
        final_sigmas_type="sigma_min",
    )
    sampler = UniPC(p, variant, corrector, lower_order_final=lowered)
    # the weights' recursion loses digits there for the short steps of 12 even in λ: 1e-16/h³
    compare_on_sigmas(sampler, theirs, ddpm, LogSNRGrid(), 12, 1e-9)


@pytest.mark.parametrize(
    ("predictor", "corrector", "tau"), [(1, 2, 1.0), (2, 2, 1.0), (2, 3, 0.5), (3, 4, 1.0), (4, 3, 0.0)]
)
@pytest.mark.parametrize("lowered", [False, True])
def test_sa_solver(predictor, corrector, tau, lowered, ddpm, feed):
    """A state is what the predictor made of it, as of UniPC."""
    theirs = scheduler(
        "SASolverScheduler",
        predictor_order=predictor,
        corrector_order=corrector,
        tau_func=lambda t: torch.tensor(tau, dtype=F64),
        lower_order_final=lowered,
    )
    feed("scheduling_sasolver", [Drawn().normals(n) for n in range(12)])
    sampler = SASolver(predictor, corrector, tau, lower_order_final=lowered)
    # their polynomials in λ, not in its distance, lose digits
    compare_on_sigmas(sampler, theirs, ddpm, LogSNRGrid(), 12, 1e-8)


@pytest.mark.parametrize("steps", [10, 16])
@pytest.mark.parametrize("degree", [0, 1, 2])
def test_deis(degree, steps, ddpm):
    """Theirs is the polynomial in log ρ, integrated in closed form; fewer than 15 steps end at lower order."""
    theirs = scheduler("DEISMultistepScheduler", solver_order=degree + 1)
    # their table has no option to end before the data; the times are replaced anyway
    compare_on_sigmas(DEISAB(degree, "log_rho"), theirs, ddpm, LogSNRGrid(), steps, 1e-9)


# --- EDM -------------------------------------------------------------------------------------------------


def edm_states(process, model, x, times, step):
    states = [x]
    for a, b in pairwise(times):
        x = step(x, float(a), float(b))
        states.append(x)
    return states


@pytest.mark.parametrize("to_zero", [False, True])
def test_heun_discrete(to_zero):
    process, grid = EDM(), KarrasGrid(to_zero=to_zero)
    model, x = zero_mean_mixture(process), 80 * normal(BATCH, 2)
    times = grid.times(process, 10)
    theirs = scheduler("HeunDiscreteScheduler")
    theirs.set_timesteps(10)
    # each time but the first stands twice: the stage at a step's end, and the next step's start
    doubled = torch.cat((times[:1], times[1:-1].repeat_interleave(2), times[-1:]))
    theirs.sigmas = doubled if to_zero else torch.cat((doubled, times[-1:]))
    theirs.set_begin_index(0)
    y, states = x, [x]
    calls = len(doubled) - 1 if to_zero else len(doubled)
    for n in range(calls):
        y = theirs.step(model_at(process, model, float(theirs.sigmas[n]))(y), n, y).prev_sample
        if n % 2 or (to_zero and n == calls - 1):
            states.append(y)
    ours = Heun().sample(model, process, grid, x, steps=10, trajectory=True)
    assert ours.nfe == calls
    agree(ours.trajectory, states[: len(ours.trajectory)])


def test_euler_discrete_is_ddim_on_edm(ddpm):
    process, grid = EDM(), KarrasGrid(to_zero=True)
    model, x = zero_mean_mixture(process), 80 * normal(BATCH, 2)
    others = sigma_run(scheduler("EulerDiscreteScheduler"), process, model, x, grid.times(process, 10))
    # their scheduler rounds every state to float32
    agree(DDIM().sample(model, process, grid, x, steps=10, trajectory=True).trajectory, others, FLOAT32)


def test_euler_ancestral_discrete_is_ddim_1_on_edm(feed):
    process, grid = EDM(), KarrasGrid(to_zero=True)
    model, x = zero_mean_mixture(process), 80 * normal(BATCH, 2)
    feed("scheduling_euler_ancestral_discrete", [Drawn().normals(n) for n in range(10)])
    others = sigma_run(
        scheduler("EulerAncestralDiscreteScheduler"), process, model, x, grid.times(process, 10)
    )
    ours = DDIM(1.0).sample(model, process, grid, x, Drawn(), steps=10, trajectory=True)
    agree(ours.trajectory, others, FLOAT32)


def test_karras_ve_with_churn(feed):
    """Algorithm 2 with noise: churn between S_min and S_max only."""
    churn = {"s_churn": 40.0, "s_min": 0.05, "s_max": 50.0, "s_noise": 1.003}
    theirs = scheduler("KarrasVeScheduler", "deprecated.scheduling_karras_ve", **churn)
    process, grid = EDM(), KarrasGrid(to_zero=True)
    model, x = zero_mean_mixture(process), 80 * normal(BATCH, 2)
    times = grid.times(process, 12)
    theirs.set_timesteps(12)
    used = [n for n, t in enumerate(times[:-1]) if churn["s_min"] <= t <= churn["s_max"]]
    assert 4 <= len(used) < 12
    # theirs draws at every step and multiplies by zero outside the range
    feed("deprecated.scheduling_karras_ve", [Drawn().normals(n, Stream.CHURN) for n in range(12)])

    def step(y, a, b):
        hat, level = theirs.add_noise_to_input(y, a)
        output = -model_at(process, model, level)(hat)
        moved = theirs.step(output, level, b, hat)
        if b == 0:
            return moved.prev_sample
        output = -model_at(process, model, b)(moved.prev_sample)
        args = (level, b, hat, moved.prev_sample, moved.derivative)
        return theirs.step_correct(output, *args).prev_sample

    others = edm_states(process, model, x, times, step)
    sampler = Heun(churn=40.0, churn_min=0.05, churn_max=50.0, churn_noise=1.003)
    ours = sampler.sample(model, process, grid, x, Drawn(), steps=12, trajectory=True)
    agree(ours.trajectory, others)


# --- score SDEs ------------------------------------------------------------------------------------------


def test_score_sde_ve(feed):
    """Predictor and corrector, one sample: they take the batch's mean norm in the Langevin step."""
    theirs = scheduler("ScoreSdeVeScheduler", snr=0.16, correct_steps=2, sigma_max=50.0)
    theirs.set_timesteps(20)
    theirs.set_sigmas(20)
    process = VE(0.01, 50.0)
    theirs.discrete_sigmas = 0.01 * 5000.0 ** torch.linspace(0, 1, 20, dtype=F64)
    levels = theirs.discrete_sigmas.flip(0)
    # their level s includes s_min²; ours is the exact variance, and differences of squares are the same
    times = (levels / 0.01).log() / math.log(5000.0)
    drawn = Drawn(1)
    order = []
    for n in range(19):
        order += [drawn.normals(2 * n + k, Stream.CORRECTOR) for k in range(2)] + [drawn.normals(n)]
    feed("scheduling_sde_ve", order)
    theirs.timesteps = torch.linspace(1, 0, 20, dtype=F64)
    # their index is truncated from a float, and their neighbour looked up by comparing floats
    theirs.get_adjacent_sigma = lambda index, _: theirs.discrete_sigmas[index - 1]
    model, x = zero_mean_mixture(process, ScorePrediction()), 50 * normal(1, 2)
    states, y = [x], x
    for n in range(18):
        score = model_at(process, model, float(times[n]))
        for _ in range(2):
            y = theirs.step_correct(score(y), y).prev_sample
        y = theirs.step_pred(score(y), (19.5 - n) / 19, y).prev_sample
        states.append(y)
    sampler = PredictorCorrector(snr=0.16, corrections=2, norms="sample")
    # the last step of theirs goes to level 0 with noise; ours goes there by the predicted x_0
    grid = ExplicitGrid(times.tolist()[:19])
    ours = sampler.sample(model, process, grid, x, drawn, trajectory=True)
    agree(ours.trajectory, states, FLOAT32)  # they multiply step sizes by ones in float32


def test_score_sde_vp(feed):
    """Euler–Maruyama; their step is −1/N whatever the times."""
    theirs = scheduler("ScoreSdeVpScheduler", "deprecated.scheduling_sde_vp", beta_max=20)
    n = 25
    theirs.set_timesteps(n)
    process = VP()
    times = 1 - torch.arange(n, dtype=F64) / n
    feed("deprecated.scheduling_sde_vp", [Drawn().normals(k) for k in range(n)])
    model, x = zero_mean_mixture(process), normal(BATCH, 2)
    states, y = [x], x
    for t in times[:-1]:
        y, _ = theirs.step_pred(model_at(process, model, float(t))(y), y, t.expand(BATCH))
        states.append(y)
    ours = EulerMaruyama().sample(model, process, ExplicitGrid(times.tolist()), x, Drawn(), trajectory=True)
    agree(ours.trajectory, states)


def test_edm_preconditioning():
    theirs = scheduler("EDMEulerScheduler", sigma_data=0.5)
    parametrisation, process = EDMPreconditioning(0.5), EDM()
    x, output = normal(BATCH, 2), normal(BATCH, 2, seed=1)
    for level in (0.01, 0.7, 30.0):
        sigma = torch.tensor(level, dtype=F64)
        mine = Prediction(output, x, parametrisation, process.node(level)).data()
        torch.testing.assert_close(
            mine, theirs.precondition_outputs(x, output, sigma), rtol=1e-12, atol=1e-12
        )
        scaled = parametrisation.input_scale(1.0, level) * x
        torch.testing.assert_close(scaled, theirs.precondition_inputs(x, sigma), rtol=1e-12, atol=1e-12)
        label = parametrisation.label(process, sigma)
        torch.testing.assert_close(label, theirs.precondition_noise(sigma), rtol=1e-12, atol=1e-12)
