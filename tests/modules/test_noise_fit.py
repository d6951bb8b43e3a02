"""Which noise fits which family, what a network then declares, and what it costs."""

import copy
import inspect

import pytest
import torch

import integrand.modules.noise as package
from integrand.errors import UsageError
from integrand.modules import HOResNet, LeapfrogNet, NeuralODE, NoBlock, ResNet, RevNet, families
from integrand.modules.bench import BenchFamily
from integrand.modules.bench.image.cifar import CIFARStages
from integrand.modules.noise import (
    ContinuumDropout,
    Dropout,
    FeynmanKac,
    GaussianInjection,
    ShakeShake,
    StochasticDepth,
    UniformInjection,
)
from integrand.solvers import Euler, count
from integrand.spec import Classes, ImageSpec

SPEC = ImageSpec("made-up", Classes(3), (1, 8, 8))
X = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
KINDS = {
    "dropout": Dropout(0.5),
    "stochastic-depth": StochasticDepth(0.5),
    "shake-shake": ShakeShake(),
    "gaussian": GaussianInjection(0.1),
    "uniform": UniformInjection(0.1),
    "feynman-kac": FeynmanKac(0.1, 2),
    "continuum": ContinuumDropout(0.3),
}
DISCRETE = {"dropout", "stochastic-depth", "gaussian", "uniform", "feynman-kac"}
FITS = {
    "ResNet": DISCRETE | {"shake-shake"},
    "LMResNet": DISCRETE | {"shake-shake"},
    "AntisymmetricNet": DISCRETE,
    "ParabolicCNN": DISCRETE,
    "PolyNet": DISCRETE,
    "HOResNet": DISCRETE,
    "RevNet": {"dropout", "stochastic-depth", "shake-shake"},
    "MomentumResNet": {"dropout", "stochastic-depth", "shake-shake"},
    "HamiltonianNet": {"dropout", "stochastic-depth"},
    "MidpointNet": {"dropout", "stochastic-depth"},
    "LeapfrogNet": {"dropout", "stochastic-depth"},
    "HyperbolicCNN": {"dropout", "stochastic-depth"},
    "NeuralODE": {"dropout", "continuum"},
    "AugmentedNeuralODE": {"dropout", "continuum"},
    "SecondOrderNeuralODE": {"dropout", "continuum"},
    "HeavyBallNeuralODE": {"dropout", "continuum"},
    "GeneralizedHeavyBallNeuralODE": {"dropout", "continuum"},
    "NesterovNeuralODE": {"dropout", "continuum"},
    "AdamNeuralODE": {"dropout", "continuum"},
    "RNODE": {"dropout", "continuum"},
    "TayNODE": {"dropout", "continuum"},
    "STEER": {"dropout", "continuum"},
    "NoBlock": set(),
    "FractalNet": set(),
    "DeepEquilibrium": set(),
    "NeuralDDE": set(),
    "FractionalNeuralODE": set(),
    "NeuralSDE": set(),
}
"""Reversible nets with `reversible_backward: false`. Families that are not named may do as they declare."""
FAMILIES = [f for f in families() if issubclass(f, BenchFamily) and ImageSpec in f.takes]


def build(family, noise, **kwargs):
    options = inspect.signature(family.__init__).parameters
    if "reversible_backward" in options:
        kwargs.setdefault("reversible_backward", False)
    if "solver" in options:
        kwargs["solver"] = Euler(num_steps=4)
    torch.manual_seed(0)
    return family(SPEC, channels=6, noise=noise, **kwargs)


def built_or_refusal(family, noise):
    try:
        return build(family, noise)
    except UsageError as refusal:
        return refusal


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.family)
def test_noise_fits_or_is_refused_at_construction(family, kind, accounts):
    module = built_or_refusal(family, KINDS[kind])
    if isinstance(module, UsageError):
        assert kind not in FITS.get(family.__name__, ()), module
        assert module.remedy
        return
    assert kind in FITS.get(family.__name__, KINDS), "should have been refused"
    assert module.stochastic
    declared = family.__dict__.get("stochastic", False)
    assert family.stochastic is declared
    assert not torch.equal(module.train()(X), module(X))
    noisy_at_test = kind == "feynman-kac"
    assert torch.equal(module.eval()(X), module(X)) is not noisy_at_test
    with count(*module.net.dynamics.residuals(), *getattr(module.noise, "branches", ())) as seen:
        module.train()
        accounts(module).clear()
        loss = module(X).sum()
        forward = seen.calls
        loss.backward()
    assert sum(s.nfe_forward for s in accounts(module)) >= forward > 0  # TayNODE and RNODE evaluate more
    if not hasattr(module.net.dynamics, "intervals"):
        assert sum(s.nfe_forward for s in accounts(module)) == forward == seen.calls
    assert all(torch.isfinite(p.grad).all() for p in module.parameters())


@pytest.mark.parametrize(
    ("family", "noise", "kwargs", "message"),
    [
        (
            NoBlock,
            Dropout(),
            {},
            r"Dropout does not fit NoBlock: .* no step and no field .* → remove model.noise",
        ),
        (NeuralODE, GaussianInjection(), {}, r"white noise is no function of t.* or NeuralSDE"),
        (NeuralODE, StochasticDepth(), {}, r"a field has no steps that could be dropped"),
        (NeuralODE, ShakeShake(), {}, r"an evaluation is no step"),
        (HOResNet, ShakeShake(), {}, r"act on each other.*such as ResNet"),
        (ResNet, ContinuumDropout(), {}, r"in continuous time.*use a neural ODE"),
        (
            RevNet,
            Dropout(),
            {"reversible_backward": True},
            r"would meet other noise → set model.reversible_backward to",
        ),
        (RevNet, GaussianInjection(), {"reversible_backward": True}, r"a second half.* → remove model.noise"),
        (LeapfrogNet, FeynmanKac(), {}, r"holds a velocity.* → remove model.noise"),
    ],
    ids=lambda v: getattr(v, "__name__", type(v).__name__),
)
def test_a_refusal_says_why_and_what_fits(family, noise, kwargs, message):
    with pytest.raises(UsageError, match=message):
        build(family, noise, **kwargs)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("Dropout", {"p": 1.0}),
        ("Dropout", {"p": -0.1}),
        ("Dropout", {"per": "batch"}),
        ("StochasticDepth", {"survival": 0.0}),
        ("StochasticDepth", {"survival": 1.1}),
        ("StochasticDepth", {"scale": "never"}),
        ("ShakeShake", {"mode": "shake"}),
        ("ShakeShake", {"per": "element"}),
        ("GaussianInjection", {"sigma": -1.0}),
        ("UniformInjection", {"eps": float("nan")}),
        ("FeynmanKac", {"coef": -0.1}),
        ("FeynmanKac", {"ensemble": 0}),
        ("ContinuumDropout", {"p": 1.0}),
        ("ContinuumDropout", {"renewals": 0.0}),
        ("ContinuumDropout", {"samples": -1}),
    ],
)
def test_numbers_outside_their_domain_are_refused(name, options):
    (option,) = options
    with pytest.raises(UsageError, match=f"set model.noise.init_args.{option}"):
        getattr(package, name)(**options)


def test_one_noise_object_serves_several_networks():
    noise = ShakeShake()
    first, second = (build(ResNet, noise, blocks=n) for n in (2, 3))
    assert len(noise.branches) == 0
    assert len(first.noise.branches) == 2
    assert len(second.noise.branches) == 3


@pytest.mark.parametrize("kind", sorted(FITS["ResNet"]))
def test_a_copy_draws_as_the_original_and_follows_its_own_mode(kind):
    module = build(ResNet, KINDS[kind])
    twin = copy.deepcopy(module)
    outputs = []
    for m in (module, twin):
        torch.manual_seed(1)
        outputs.append(m(X))
    assert torch.equal(*outputs)
    twin.eval()
    assert not torch.equal(module(X), module(X))
    if kind != "feynman-kac":
        assert torch.equal(twin(X), twin(X))


def staged(noise):
    torch.manual_seed(0)
    spec = ImageSpec("made-up", Classes(3), (3, 16, 16))
    return ResNet(spec, channels=4, blocks=2, layout=CIFARStages(), noise=noise)


def test_steps_of_a_staged_net_are_numbered_through_its_transitions():
    module = staged(StochasticDepth(0.5))
    numbers = []
    factor = module.noise.factor
    module.noise.factor = lambda value, n: numbers.append((n, value.shape[1])) or factor(value, n)
    for _ in range(2):
        numbers.clear()
        module(torch.randn(2, 3, 16, 16))
        # two blocks of 4 channels, then a transition and a block for each further stage
        assert numbers == [(0, 4), (1, 4), (2, 8), (3, 8), (4, 16), (5, 16)]
    assert module.noise.steps == 6


@pytest.mark.parametrize("kind", sorted(FITS["ResNet"]))
def test_staged_nets_take_noise_and_count_it(kind, accounts):
    module = staged(KINDS[kind])
    x = torch.randn(2, 3, 16, 16)
    assert not torch.equal(module(x), module(x))
    accounts(module).clear()
    with count(*module.net.dynamics.residuals(), *getattr(module.noise, "branches", ())) as seen:
        module(x).sum().backward()
    assert sum(s.nfe_forward for s in accounts(module)) == seen.calls
    assert sum(s.vjps for s in accounts(module)) == seen.calls
    assert seen.calls == {"shake-shake": 12, "feynman-kac": 12}.get(kind, 6)


def test_staged_neural_odes_hold_noise_in_every_stage():
    torch.manual_seed(0)
    spec = ImageSpec("made-up", Classes(3), (3, 16, 16))
    module = NeuralODE(spec, 4, Euler(num_steps=2), layout=CIFARStages(norm="group"), noise=Dropout(0.5))
    x = torch.randn(2, 3, 16, 16)
    assert not torch.equal(module(x), module(x))
    assert torch.equal(module.eval()(x), module(x))
