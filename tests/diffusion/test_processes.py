"""Processes: marginals, coefficients and inverses agree; published tables and closed forms."""

import math

import diffusers
import pytest
import torch
from diffusion_cases import F64

from integrand.diffusion import EDM, VE, VP, CosineVP, DiscreteVP, GridError, LinearFlow, SubVP
from integrand.solvers import SolverOptionError

PROCESSES = [
    VP(),
    SubVP(),
    VE(),
    EDM(),
    CosineVP(),
    LinearFlow(t_max=0.999),
    DiscreteVP(),
    DiscreteVP("scaled-linear", beta_max=0.012),
]


def times(process, n=41):
    t = torch.linspace(process.t_min, process.t_max, n, dtype=F64)
    # between DDPM's steps, where its coefficients are smooth
    return (t * 1000).floor().clamp(1, 999) / 1000 - 0.0004 if isinstance(process, DiscreteVP) else t


@pytest.mark.parametrize("process", PROCESSES, ids=lambda p: p.describe())
def test_drift_and_diffusion_give_the_marginals(process):
    """d log α/dt = f and dσ²/dt = 2 f σ² + g², by automatic differentiation."""
    t = times(process).requires_grad_()
    log_alpha, variance = process.log_alpha(t), process.sigma(t).square()
    da = torch.zeros_like(t)
    if log_alpha.requires_grad:
        (da,) = torch.autograd.grad(log_alpha.sum(), t, retain_graph=True)
    (dv,) = torch.autograd.grad(variance.sum(), t)
    f, g2 = process.drift(t), process.diffusion2(t)
    torch.testing.assert_close(f, da, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(2 * f * variance + g2, dv, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("process", PROCESSES, ids=lambda p: p.describe())
def test_time_inverts_log_snr(process):
    t = times(process)
    log_snr = process.log_snr(t)
    assert (log_snr.diff() <= 0).all()
    torch.testing.assert_close(process.time(log_snr), t, rtol=1e-12, atol=1e-12 * process.t_max)
    torch.testing.assert_close(log_snr, (process.alpha(t) / process.sigma(t)).log(), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("process", PROCESSES, ids=lambda p: p.describe())
def test_nodes(process):
    node = process.node(0.3 * process.t_max)
    again = process.node_at(node.log_snr)
    assert again.t == pytest.approx(node.t, rel=1e-12)
    assert node.rho == pytest.approx(math.exp(-node.log_snr), rel=1e-12)
    data = process.node(0.0)
    assert (data.alpha, data.sigma, data.log_snr) == (1.0, 0.0, math.inf)
    with pytest.raises(GridError, match="leave"):
        process.node(-0.1)


def test_a_bounded_process_ends():
    with pytest.raises(GridError, match=r"leave \[0, 1\]"):
        VP().node(1.2)
    assert EDM().node(100.0).sigma == pytest.approx(100.0)


def test_vp_in_closed_form():
    t = torch.linspace(0, 1, 11, dtype=F64)
    mean = torch.exp(-0.25 * t**2 * 19.9 - 0.5 * t * 0.1)
    process = VP()
    torch.testing.assert_close(process.alpha(t), mean)
    torch.testing.assert_close(process.sigma(t).square() + mean.square(), torch.ones_like(t))
    torch.testing.assert_close(process.diffusion2(t), 0.1 + 19.9 * t)


def test_sub_vp_variance_is_at_most_vp_variance():
    t = torch.linspace(0, 1, 101, dtype=F64)
    sub, full = SubVP().sigma(t), VP().sigma(t)
    assert (sub <= full).all()
    assert (sub[1:50] < full[1:50]).all()
    torch.testing.assert_close(sub, 1 - SubVP().alpha(t).square())


def test_ve_variance_is_exact():
    """σ_min² (r^{2t} − 1), not the σ_min² r^{2t} of published code; it vanishes at the data."""
    t = torch.linspace(0, 1, 11, dtype=F64)
    levels = 0.01 * 5000.0**t
    torch.testing.assert_close(VE().sigma(t).square(), levels.square() - 0.01**2)
    assert VE().sigma(t[:1]) == 0


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (DiscreteVP(), {}),
        (DiscreteVP("scaled-linear", beta_min=0.00085, beta_max=0.012), {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}),
        (DiscreteVP("cosine"), {"beta_schedule": "squaredcos_cap_v2"}),
        (DiscreteVP(num_steps=500), {"num_train_timesteps": 500}),
    ],
    ids=["linear", "scaled-linear", "cosine", "500"],
)  # fmt: skip
def test_tables_are_diffusers(ours, theirs):
    table = diffusers.DDPMScheduler(**theirs).alphas_cumprod.double()
    k = torch.arange(ours.num_steps)
    # theirs is a product in float32: 1000 roundings of 6e-8, and the last cosine values are 1e-9
    torch.testing.assert_close(ours.alpha(ours.time_of_index(k)).square(), table, rtol=1e-4, atol=1e-10)
    assert ours.index(ours.time_of_index(k)).round().long().tolist() == k.tolist()


def test_cosine_in_closed_form():
    t = torch.linspace(0, 0.99, 12, dtype=F64)
    angle = (t + 0.008) / 1.008 * math.pi / 2
    torch.testing.assert_close(
        CosineVP().alpha(t).square(), torch.cos(angle).square() / math.cos(0.008 / 1.008 * math.pi / 2) ** 2
    )


def test_prior():
    x = torch.randn(3, 2, dtype=F64, generator=torch.Generator().manual_seed(0))
    for process, std in ((VP(), 1.0), (EDM(), 80.0), (VE(), math.sqrt(50.0**2 - 0.01**2))):
        normal = torch.distributions.Normal(0.0, torch.tensor(std, dtype=F64))
        torch.testing.assert_close(process.prior_log_prob(x), normal.log_prob(x).sum(1))


def test_what_networks_are_told():
    t = torch.tensor([0.5], dtype=F64)
    assert float(VP().label(t)) == pytest.approx(499.5)
    assert float(DiscreteVP().label(t)) == pytest.approx(499.0)
    assert float(EDM().label(t)) == pytest.approx(0.25 * math.log(0.5))
    assert float(VE().label(t)) == pytest.approx(math.log(math.sqrt(0.01**2 * (5000.0 - 1))))


def test_wrong_settings():
    with pytest.raises(SolverOptionError, match="beta_min must be positive"):
        VP(beta_min=-1.0)
    with pytest.raises(SolverOptionError, match="did you mean scaled-linear"):
        DiscreteVP("scaled_linear")
