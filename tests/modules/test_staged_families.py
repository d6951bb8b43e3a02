"""Families in layouts of several stages, and with the image as their state."""

import inspect

import pytest
import torch
from torch.nn import functional as F

from integrand.errors import UsageError
from integrand.modules import (
    DeepEquilibrium,
    FractionalNeuralODE,
    HOResNet,
    HyperbolicCNN,
    LeapfrogNet,
    MidpointNet,
    MomentumResNet,
    NeuralDDE,
    NeuralSDE,
    ParabolicCNN,
    PolyNet,
    ResNet,
    TayNODE,
    families,
)
from integrand.modules.bench import BenchFamily
from integrand.modules.bench.image.cifar import CIFARStages, ResidualFunction
from integrand.modules.bench.image.image_state import ImageState
from integrand.modules.bench.image.reversible_stages import HamiltonianStages
from integrand.modules.bench.image.shared import SharedLayout
from integrand.modules.bench.stages import StagedStats, stages_of
from integrand.modules.discrete.smoothness import roughness
from integrand.solvers import RK4, SolveStats, Status, count
from integrand.spec import Classes, ImageSpec

SPEC = ImageSpec("made-up", Classes(3), (3, 8, 8))
X = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
Y = torch.tensor([0, 2])
BENCHED = [f for f in families() if issubclass(f, BenchFamily) and ImageSpec in f.takes]
OURS = [f for f in BENCHED if f.__module__.startswith("integrand.")]
# a net without a block has no stages; the global drop-path keeps one column of a whole FractalNet; the diffusion
# of an SDE-Net reads the one state that its layout has
ALONE = {"no-block", "fractalnet", "sde-net"}
STAGED = [f for f in OURS if f.family not in ALONE]
# families that integrate the image itself where a layout asks for it
ON_IMAGES = [f for f in STAGED if f.group != "discrete"]

each_staged = pytest.mark.parametrize("family", STAGED, ids=lambda f: f.family)


def make(family, layout=None, seed=0, **kwargs):
    torch.manual_seed(seed)
    known = inspect.signature(family.__init__).parameters
    defaults = {"solver": RK4(num_steps=2), "num_steps": 2, "blocks": 2}
    if family.family == "sde-bnn":
        defaults["samples"] = 1  # each path of the weights has an account of its own
    options = {name: value for name, value in defaults.items() if name in known} | kwargs
    channels = options.pop("channels", 4)
    return family(SPEC, channels=channels, layout=layout or CIFARStages(norm="group"), **options)


@each_staged
def test_staged_net_counts_its_evaluations_and_reaches_its_weights(family, accounts):
    module = make(family).train(not family.stochastic)
    with count(*module.net.dynamics.residuals()) as seen:
        logits = module(X)
        forward = seen.calls
        F.cross_entropy(logits, Y).backward()
    assert logits.shape == (2, 3)
    stats = accounts(module)[-1]
    assert (stats.nfe_forward, stats.nfe_backward) == (forward, seen.calls - forward)
    assert stats.solver.endswith(", 3 stages")
    assert len(stages_of(module.net.dynamics)) == 3
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("family", [f for f in OURS if f.family in ALONE], ids=lambda f: f.family)
def test_the_others_say_that_they_have_no_stages(family):
    with pytest.raises(UsageError, match="has no other layout"):
        make(family)


@pytest.mark.parametrize("layout", [CIFARStages(norm="group"), HamiltonianStages(norm="group")])
@pytest.mark.parametrize(
    ("family", "options"),
    [
        (MomentumResNet, {"velocity": "learned"}),
        (MidpointNet, {}),
        (LeapfrogNet, {}),
        (HyperbolicCNN, {}),
        (HyperbolicCNN, {"form": "hamiltonian"}),
    ],
)
def test_staged_gradients_by_recomputation_are_those_of_autograd(family, options, layout):
    found = []
    for reversible in (True, False):
        module = make(family, layout, reversible_backward=reversible, blocks=3, **options).double()
        module(X.double()).square().sum().backward()
        found.append({n: p.grad for n, p in module.named_parameters()})
    for name, gradient in found[1].items():
        # float64: what is lost is the round-off of the reconstruction
        torch.testing.assert_close(found[0][name], gradient, rtol=1e-6, atol=1e-9, msg=name)


@pytest.mark.parametrize(
    "net",
    [
        lambda layout: make(MomentumResNet, layout, gamma=0.0, reversible_backward=False, blocks=3),
        # a polynomial of first order with one way is the residual block; here both ways are halved
        lambda layout: make(PolyNet, layout, variant="2-way", h=0.5, blocks=3),
    ],
    ids=["momentum", "polynet"],
)
def test_reductions_to_the_resnet_hold_with_batch_norm_and_stages(net):
    """γ = 0, and two equal ways of half the step, are the ResNet, whose weights they are given."""
    reference = make(ResNet, CIFARStages(), blocks=3, seed=5).double().eval()
    module = net(CIFARStages()).double().eval()
    weights = reference.net.state_dict()
    for name in module.net.state_dict():
        if name not in weights:  # dynamics.stages.0.fields.0.1.conv1.weight belongs to block 0
            parts = name.split(".")
            weights[name] = weights[".".join([*parts[:5], *parts[6:]])]
    module.net.load_state_dict({name: weights[name] for name in module.net.state_dict()})
    assert isinstance(module.net.dynamics.residuals()[0], ResidualFunction)
    torch.testing.assert_close(module(X.double()), reference(X.double()), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("family", "options", "fine"),
    [
        (PolyNet, {"variant": "poly-2"}, {"variant": "mpoly-2"}),
        (HOResNet, {"tied_stages": True}, {}),
        (HOResNet, {"tied": True}, {}),
        (ResNet, {"tied": True}, {}),
        (DeepEquilibrium, {"block": "residual"}, {}),
        (NeuralDDE, {"time_dependent": False}, None),
        (FractionalNeuralODE, {"time_dependent": False}, None),
        (NeuralSDE, {"time_dependent": False}, None),
    ],
)
def test_batch_statistics_are_refused_where_functions_are_evaluated_again(family, options, fine):
    with pytest.raises(UsageError, match="batch statistics would be updated once per evaluation"):
        make(family, CIFARStages(), **options)
    make(family, **options)
    if fine is not None:
        module = make(family, CIFARStages(), **fine)
        module(X)
        norms = [m for m in module.modules() if isinstance(m, torch.nn.BatchNorm2d)]
        assert {int(n.num_batches_tracked) for n in norms} == {1}


def test_smoothness_is_summed_over_the_stages_and_does_not_cross_them():
    module = make(ParabolicCNN, blocks=3, smoothness=2.0, h=0.5)
    stages = stages_of(module.net.dynamics)
    assert [s.blocks for s in stages] == [3, 2, 2]
    expected = 2.0 * sum(roughness(list(s.fields), 0.5) for s in stages)
    torch.testing.assert_close(module.penalty()["smoothness"], expected)


def test_regularisers_are_summed_over_the_stages():
    module = make(TayNODE, intervals=2, order=2)
    module(X)
    parts = [s.take_terms()["taylor"] for s in stages_of(module.net.dynamics)]
    module(X)
    # the same net on the same batch; one sum of three numbers
    torch.testing.assert_close(module.penalty()["taylor"], sum(parts), rtol=1e-6, atol=0)
    assert all(p > 0 for p in parts)
    assert module.penalty() == {}


def test_diffusion_evaluations_add_up_over_the_stages(accounts):
    seen = []
    for layout in (SharedLayout(), CIFARStages(norm="group")):
        module = make(NeuralSDE, layout, num_steps=3, gradient="checkpoint").train()
        F.cross_entropy(module(X), Y).backward()
        seen.append(accounts(module)[-1])
    one, three = seen
    assert one.nfe_diffusion_backward == 3
    assert three.nfe_forward == 3 * one.nfe_forward + 2  # and the transitions, which have no diffusion
    assert three.nfe_diffusion == 3 * one.nfe_diffusion
    assert three.nfe_backward == 3 * one.nfe_backward
    assert three.nfe_diffusion_backward == 3 * one.nfe_diffusion_backward


def test_an_account_of_stages_keeps_profile_and_stiffness():
    total = StagedStats()
    total.add(SolveStats(step_sizes=[0.1, 0.2], stiffness=0.3, nfe_diffusion=2))
    total.add(SolveStats(step_sizes=[0.5], stiffness=None, nfe_diffusion=5))
    total.nfe_diffusion += 1
    assert (total.step_sizes, total.stiffness, total.nfe_diffusion) == ([0.1, 0.2, 0.5], 0.3, 8)
    total.add(SolveStats(step_sizes=None, stiffness=0.9))
    assert (total.step_sizes, total.stiffness) == (None, 0.9)


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_a_sample_that_fails_in_any_stage_is_a_failure(stage, accounts):
    module = make(DeepEquilibrium)
    module(X)
    assert sum(s.failures for s in accounts(module)) == 0
    stages_of(module.net.dynamics)[stage].max_iter = 1
    loss = F.cross_entropy(module(X), Y)
    assert sum(s.failures for s in accounts(module)) == 2
    assert module.net.trajectory(X, 2).status is Status.MAX_NFE
    loss.backward()
    assert sum(s.failures for s in accounts(module)) == 4  # and in the gradient of the same stage


@pytest.mark.parametrize("family", ON_IMAGES, ids=lambda f: f.family)
def test_the_image_can_be_the_state(family):
    # families with a momentum of their own may carry more channels than the image has
    lifted = "momentum" in inspect.getsource(family)
    module = make(family, ImageState(4), channels=5 if lifted else 3).eval()
    assert module(X).shape == (2, 3)
    # Nesterov divides by k(t0) and multiplies again
    torch.testing.assert_close(module.trajectory(X, 3)[1][0][:, :3], X, rtol=1e-6, atol=1e-6)
