"""Published settings: counts, evaluations and shapes, without training."""

from pathlib import Path

import pytest
import torch
import yaml

from integrand.errors import UsageError
from integrand.modules import (
    AugmentedNeuralODE,
    HamiltonianNet,
    HeavyBallNeuralODE,
    NeuralODE,
    NoBlock,
    ResNet,
    RevNet,
)
from integrand.modules.bench.image.cifar import CIFARStages
from integrand.modules.bench.image.flat import FlatImageState, SigmoidField
from integrand.modules.bench.image.image_state import ImageState
from integrand.modules.bench.image.normed_stage import NormedField, NormedStage
from integrand.modules.bench.image.reversible_stages import HamiltonianStages, RevNetStages, shrink
from integrand.modules.bench.image.shake_stages import ShakenShortcut
from integrand.modules.bench.stages import StagedDynamics, StagedStats
from integrand.solvers import RK4, Dopri5, SolveStats, count
from integrand.spec import Classes, ImageSpec

PUBLISHED = Path(__file__).resolve().parents[2] / "configs" / "published"
FILES = sorted(p.relative_to(PUBLISHED).as_posix() for p in PUBLISHED.rglob("*.yaml"))
SPEC = ImageSpec("made-up", Classes(3), (3, 8, 8))


def parameters(module):
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def residual_count(n, classes=10):
    """Weights of the 6n + 2 layers of He et al. 2016, without biases before a norm and with option-A shortcuts.

    Stem 3·16·9; a block of width c 2·9c² + 4c; a block from c to 2c 9·2c² + 9·4c² + 2c + 4c; norm and read-out.
    """
    same = sum(k * (18 * c * c + 4 * c) for c, k in ((16, n), (32, n - 1), (64, n - 1)))
    wider = sum(18 * c * c + 36 * c * c + 6 * c for c in (16, 32))
    return 432 + same + wider + 128 + 64 * classes + classes


# Name: parameters, evaluations of a forward pass. Derived above, or below beside the number; the paper rounds to
# 0.27, 0.46, 0.66, 0.85 and 1.7 M.
DISCRETE = {
    # one evaluation for each of the 3n blocks
    **{f"resnet_{6 * n + 2}": (residual_count(n), 3 * n) for n in (3, 5, 7, 9, 18)},
    # and one k for each block that has a predecessor in its stage: n − 1, then n − 2 twice
    **{f"lm_resnet_{6 * n + 2}": (residual_count(n) + 3 * n - 5, 3 * n) for n in (3, 5, 7, 9)},
    # Widths 16, 32, 56 of the halves, two functions of 18w² + 4w in each of 3, 2 and 2 blocks; the stride blocks
    # 16→32 and 32→56 with F of 9wv + 9v² + 2w + 2v and G of 18v² + 4v; stem 864 with a
    # norm of 64, norm 224, read-out 1,130.
    "revnet_38": (
        864
        + 64
        + sum(2 * k * (18 * w * w + 4 * w) for w, k in ((16, 3), (32, 2), (56, 2)))
        + sum(9 * w * v + 9 * v * v + 2 * w + 2 * v + 18 * v * v + 4 * v for w, v in ((16, 32), (32, 56)))
        + 224
        + 1130,
        2 * 9,
    ),
    # 7, 6 and 5 steps of two layers of 9w² + w; transitions have no weights. Paper: 0.43 M.
    "hamiltonian_74": (
        864 + 64 + sum(2 * k * (9 * w * w + w) for w, k in ((16, 7), (32, 6), (56, 5))) + 224 + 1130,
        2 * 18,
    ),
    "stochastic_depth_110": (residual_count(18), 54),
    # Two branches of 9wv + 9v² + 4v in each of 12 blocks, three of which change the width with 1×1 shortcuts of
    # wv + 2v; stem 432 + 32, read-out 1,290. Paper: 2.9 M.
    "shake_shake_26_2x32d": (
        464
        + sum(2 * 3 * (18 * w * w + 4 * w) for w in (32, 64, 128))
        + sum(2 * (9 * w * v + 9 * v * v + 4 * v) + w * v + 2 * v for w, v in ((16, 32), (32, 64), (64, 128)))
        + 1290,
        2 * 12,
    ),
}
PAPER = {
    "resnet_20": 0.27e6,
    "resnet_32": 0.46e6,
    "resnet_44": 0.66e6,
    "resnet_56": 0.85e6,
    "resnet_110": 1.7e6,
    "revnet_38": 0.46e6,
    "hamiltonian_74": 0.43e6,
    "shake_shake_26_2x32d": 2.9e6,
}
# Counted from the code of Xia et al. 2021, which their table repeats
CONTINUOUS = {
    **{f"cifar10/neural_ode_{recipe}": 173_611 for recipe in ("dupont", "xia")},
    **{f"cifar10/augmented_neural_ode_{recipe}": 172_452 for recipe in ("dupont", "xia")},
    "cifar10/second_order_neural_ode": 171_635,
    "cifar10/heavy_ball_neural_ode": 172_916,
    "cifar10/generalized_heavy_ball_neural_ode": 172_916,
    **{f"mnist/neural_ode_{recipe}": 85_316 for recipe in ("dupont", "xia")},
    **{f"mnist/augmented_neural_ode_{recipe}": 85_462 for recipe in ("dupont", "xia")},
    "mnist/second_order_neural_ode": 86_179,
    "mnist/heavy_ball_neural_ode": 85_931
    - 1,  # theirs counts a frozen number that has no part in the equation
    "mnist/generalized_heavy_ball_neural_ode": 85_235,
    # torchdiffeq's example, with its block and without it
    "mnist/ode_net": 208_266,
    # 785 · 100 + 100 and 101 · 784 + 784 of the field, 784 · 10 + 10 of the read-out
    "mnist/neural_ode_kelly": 166_418,
}
# Without a solve, or with evaluations besides it: parameters, evaluations in evaluation mode where they are fixed
OTHERS = {
    "mnist/ode_net_no_block": (132_874, 0),
    "mnist/taynode": (166_418, None),
    "mnist/rnode": (166_418, None),
    # stem 3 · 64 · 9 + 64, field 4 · 128 + 3 · (65 · 64 · 9 + 64), head 128 + 650; a step of 0.1 up to 1.1
    "cifar10/neural_sde": (115_594, 11),
    # the ODE net's stem 132,096, field 75,392 and head 778, and its field once more with 65 of the read-out of g
    "mnist/sde_net": (208_266 + 75_392 + 65, 6),
}


@pytest.mark.parametrize("name", DISCRETE)
def test_published_discrete_net(build, name, accounts):
    model = build(PUBLISHED / f"cifar10/{name}.yaml").model
    expected, evaluations = DISCRETE[name]
    assert parameters(model) == expected
    if name in PAPER:
        # the paper rounds to two digits
        assert abs(expected - PAPER[name]) <= 10 ** (len(str(int(PAPER[name]))) - 2) / 2
    with count(*model.net.dynamics.residuals()) as seen:
        logits = model(torch.randn(2, 3, 32, 32))
    assert logits.shape == (2, 10)
    stats = accounts(model)[-1]
    assert stats.nfe_forward == evaluations
    if "shake" not in name:  # its second branches belong to the noise
        assert seen.calls == evaluations


@pytest.mark.parametrize("name", [n for n in DISCRETE if "shake" not in n])
def test_on_cifar_100_only_the_read_out_grows(build, name, accounts):
    model = build(PUBLISHED / f"cifar100/{name}.yaml").model
    width = model.net.dynamics.out_channels
    assert parameters(model) == DISCRETE[name][0] + 90 * (width + 1)
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 100)
    assert accounts(model)[-1].nfe_forward == DISCRETE[name][1]


@pytest.mark.parametrize("name", CONTINUOUS)
def test_published_continuous_net(build, name, accounts):
    model = build(PUBLISHED / f"{name}.yaml").model
    assert parameters(model) == CONTINUOUS[name]
    dtype = torch.float64 if "kelly" in name else torch.float32
    with count(*model.net.dynamics.residuals()) as seen:
        assert model.to(dtype)(torch.randn(2, *model.spec.input_shape, dtype=dtype)).shape == (2, 10)
    stats = accounts(model)[-1]
    # Dormand-Prince: two evaluations choose the first step, then six for each step tried
    assert stats.nfe_forward == seen.calls == 2 + 6 * (stats.accepted + stats.rejected)


@pytest.mark.parametrize("name", OTHERS)
def test_other_published_nets(build, name, accounts):
    model = build(PUBLISHED / f"{name}.yaml").model.double().eval()
    expected, evaluations = OTHERS[name]
    assert parameters(model) == expected
    assert model(torch.randn(2, *model.spec.input_shape, dtype=torch.float64)).shape == (2, 10)
    if evaluations is not None:
        assert accounts(model)[-1].nfe_forward == evaluations


@pytest.mark.parametrize("name", FILES)
def test_published_setting_is_short_and_builds(build, name):
    lines = (PUBLISHED / name).read_text().splitlines()
    assert len(lines) <= 30
    assert lines[0] == f"# integrand fit --config configs/published/{name}"
    config = build(PUBLISHED / name)
    assert config.model.spec.name == name.partition("/")[0]
    schedule = yaml.safe_load("\n".join(lines))
    scheduler = schedule["model"]["init_args"].get("lr_scheduler", {}).get("init_args", {})
    # a cosine that ends early or never would be a slip
    assert scheduler.get("T_max", schedule["trainer"]["max_epochs"]) == schedule["trainer"]["max_epochs"]


def staged(**kwargs):
    torch.manual_seed(0)
    return ResNet(SPEC, channels=4, blocks=2, layout=CIFARStages(), **kwargs)


def test_stages_and_transitions_are_applied_in_turn():
    module = staged().double().eval()
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    net = module.net
    h, t = net.stem(x), torch.zeros(())
    for stage, transition in zip(net.dynamics.stages, [*net.dynamics.transitions, None], strict=True):
        for f in stage.fields:
            h = h + f(t, h)
        if transition is not None:
            short = torch.nn.functional.pad(h[:, :, ::2, ::2], (0, 0, 0, 0, h.shape[1] // 2, h.shape[1] // 2))
            h = short + transition.field(t, h)
    # the same operations in the same order
    torch.testing.assert_close(module(x), net.head(h), rtol=1e-12, atol=1e-12)


def test_backward_counts_reach_the_account_of_the_whole(accounts):
    torch.manual_seed(0)
    module = RevNet(SPEC, channels=8, blocks=3, layout=RevNetStages())
    with count(*module.net.dynamics.residuals()) as seen:
        loss = module(torch.randn(2, 3, 8, 8)).sum()
        forward = seen.calls
        stats = accounts(module)[-1]
        assert (stats.nfe_forward, stats.nfe_backward, stats.vjps) == (forward, 0, 0)
        loss.backward()
    # 3, 2 and 2 reversible blocks are recomputed, two stride blocks of two functions are not
    assert (forward, stats.nfe_backward, stats.vjps) == (18, 14, 18)
    assert seen.calls - forward == 14


@pytest.mark.parametrize(("family", "layout"), [(RevNet, RevNetStages), (HamiltonianNet, HamiltonianStages)])
def test_staged_reversible_gradients_are_those_of_autograd(family, layout):
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    found = []
    for reversible in (True, False):
        torch.manual_seed(0)
        module = family(SPEC, channels=8, blocks=2, reversible_backward=reversible, layout=layout()).double()
        module(x).square().sum().backward()
        found.append({n: p.grad for n, p in module.named_parameters()})
    for name, gradient in found[1].items():
        # float64: what is lost is the round-off of the reconstruction
        torch.testing.assert_close(found[0][name], gradient, rtol=1e-6, atol=1e-9, msg=name)


def test_batch_statistics_move_once_per_training_pass():
    torch.manual_seed(0)
    module = RevNet(SPEC, channels=8, blocks=2, layout=RevNetStages())
    module(torch.randn(2, 3, 8, 8)).sum().backward()
    norms = [m for m in module.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert len(norms) > 8
    assert {int(n.num_batches_tracked) for n in norms} == {1}


def test_a_neural_ode_can_be_staged(accounts):
    torch.manual_seed(0)
    solver = RK4(num_steps=2)
    module = NeuralODE(SPEC, channels=4, solver=solver, layout=CIFARStages(norm="group"))
    assert module(torch.randn(2, 3, 8, 8)).shape == (2, 3)
    # three solves of 2 steps of 4 evaluations, and two transitions
    assert accounts(module)[-1].nfe_forward == 3 * 8 + 2
    ts, ys = module.trajectory(torch.randn(2, 3, 8, 8), 5)
    assert ts.tolist() == [2.0, 2.25, 2.5, 2.75, 3.0]  # the third of three unit intervals
    assert ys.shape == (5, 2, 16, 2, 2)


def test_account_of_several_stages_adds_up():
    total = StagedStats()
    first = SolveStats(nfe_forward=3, accepted=2, rejected=1, min_step=0.1, max_step=0.2)
    second = SolveStats(nfe_forward=5, accepted=4, rejected=0, min_step=0.3, max_step=0.4)
    total.add(first)
    total.nfe_forward += 1
    total.add(second)
    second.nfe_backward = 7
    assert (total.nfe_forward, total.nfe_backward) == (9, 7)
    assert (total.accepted, total.rejected, total.min_step, total.max_step) == (6, 1, 0.1, 0.4)


def test_hamiltonian_stages_take_seven_six_and_five_steps():
    module = HamiltonianNet(SPEC, channels=8, blocks=6, layout=HamiltonianStages())
    assert isinstance(module.net.dynamics, StagedDynamics)
    assert [s.blocks for s in module.net.dynamics.stages] == [7, 6, 5]


def test_the_image_is_the_first_part_of_the_state():
    x = torch.randn(2, 3, 8, 8)
    for module in (
        AugmentedNeuralODE(SPEC, channels=3, augment=2, layout=ImageState(4)),
        HeavyBallNeuralODE(SPEC, channels=5, layout=ImageState(4)),
    ):
        assert torch.equal(module.trajectory(x, 3)[1][0][:, :3], x)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NoBlock(SPEC, channels=4, layout=CIFARStages()), "NoBlock has no other layout"),
        (lambda: ResNet(SPEC, channels=4, blocks=1, layout=CIFARStages()), "leaves no block after"),
        (lambda: ResNet(SPEC, channels=4, downsample=1, layout=CIFARStages()), "downsample belongs"),
        (lambda: ResNet(SPEC, channels=4, layout=CIFARStages([8, 8, 8])), "first stage has 8 channels"),
        (lambda: CIFARStages([8, 8]), "does not give 3 stages"),
        (lambda: CIFARStages(norm="layer"), "unknown norm 'layer'"),
        (lambda: NeuralODE(SPEC, channels=4, layout=CIFARStages()), "batch statistics"),
        (lambda: NeuralODE(SPEC, channels=4, time_dependent=False, layout=CIFARStages()), "batch statistics"),
        (lambda: NeuralODE(SPEC, channels=4, layout=ImageState()), "the state is the image"),
        (lambda: NeuralODE(SPEC, channels=2, layout=ImageState()), "cannot hold an image of 3"),
        (lambda: ImageState(0), "hidden must be at least 1"),
        (lambda: FlatImageState(0), "hidden must be at least 1"),
        (lambda: NeuralODE(SPEC, channels=8, layout=FlatImageState()), "which has 192 numbers"),
        (lambda: NormedStage(convs=0), "convs must be at least 1"),
        (lambda: NormedStage(halvings=-1), "halvings must be 0 or more"),
        (lambda: NeuralODE(SPEC, channels=4, layout=NormedStage(halvings=3)), "too small for 3 halvings"),
        (lambda: NeuralODE(SPEC, channels=33, layout=NormedStage()), "do not divide into 32 groups"),
        (
            lambda: ResNet(ImageSpec("x", Classes(2), (3, 3, 8)), layout=CIFARStages()),
            "cannot be halved twice",
        ),
    ],
)
def test_misfits_are_refused(make, message):
    with pytest.raises(UsageError, match=message):
        make()


def test_tolerance_of_the_published_solver_is_theirs(build):
    for name, tolerance in (
        ("cifar10/neural_ode_xia", 1e-3),
        ("mnist/neural_ode_xia", 1e-4),
        ("mnist/neural_ode_dupont", 1e-3),
    ):
        solver = build(PUBLISHED / f"{name}.yaml").model.net.dynamics.solver
        assert isinstance(solver, Dopri5)
        assert (solver.rtol, solver.atol) == (tolerance, tolerance)


def test_pixels_of_the_neural_ode_papers_are_between_0_and_1(build):
    for name in CONTINUOUS:
        assert build(PUBLISHED / f"{name}.yaml").data.normalise == "unit", name


@pytest.mark.parametrize("layout", [CIFARStages, RevNetStages, HamiltonianStages])
@pytest.mark.parametrize("shape", [(3, 30, 30), (3, 31, 32), (1, 5, 7)])
def test_stages_take_sides_that_become_odd(layout, shape):
    net = RevNet(ImageSpec("made-up", Classes(3), shape), channels=8, blocks=2, layout=layout())
    assert net(torch.randn(2, *shape)).shape == (2, 3)


def test_means_of_halved_maps_are_those_of_the_pixels_that_there_are():
    x = torch.arange(9.0).view(1, 1, 3, 3)
    expected = torch.tensor([[2.0, 3.5], [6.5, 8.0]])
    assert torch.equal(shrink(x, 1)[0, 0], expected)


@pytest.mark.parametrize("stride", [1, 2])
def test_the_shaken_shortcut_moves_half_of_its_channels_right_and_down(stride):
    shortcut = ShakenShortcut(1, 2, stride).eval()
    for conv in shortcut.convs:
        torch.nn.init.ones_(conv.weight)
    x = 1 + torch.arange(16.0).view(1, 1, 4, 4)
    plain, moved = shortcut(x)[0] * (1 + 1e-5) ** 0.5
    torch.testing.assert_close(plain, x[0, 0, ::stride, ::stride])
    expected = torch.zeros(4, 4)
    expected[1:, 1:] = x[0, 0, :-1, :-1]
    torch.testing.assert_close(moved, expected[::stride, ::stride])


def test_the_field_of_the_first_neural_ode_is_norm_relu_conv_twice_and_norm():
    field = NormedField(4, convs=2).double()
    t, h = torch.tensor(0.3), torch.randn(2, 4, 5, 5, dtype=torch.float64)
    expected = h
    for norm, conv in zip(field.norms, field.convs, strict=False):
        # 32 groups or one per channel: each channel has its own mean and spread
        mean, var = expected.mean((2, 3), keepdim=True), expected.var((2, 3), correction=0, keepdim=True)
        rectified = torch.relu((expected - mean) / (var + norm.eps).sqrt())
        time = t.double().expand(2, 1, 5, 5)
        expected = conv.conv(torch.cat([rectified, time], dim=1))
    mean, var = expected.mean((2, 3), keepdim=True), expected.var((2, 3), correction=0, keepdim=True)
    torch.testing.assert_close(field(t, h), (expected - mean) / (var + 1e-5).sqrt(), rtol=1e-10, atol=1e-10)


def test_the_field_of_all_pixels_sees_the_time_in_both_layers():
    field = SigmoidField(3, hidden=2).double()
    t, h = torch.tensor(0.7, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)
    time = torch.full((5, 1), 0.7, dtype=torch.float64)
    inner = (
        torch.sigmoid(h) @ field.first.weight[:, :3].mT + time * field.first.weight[:, 3] + field.first.bias
    )
    expected = torch.sigmoid(inner) @ field.second.weight[:, :2].mT + time * field.second.weight[:, 2]
    torch.testing.assert_close(field(t, h), expected + field.second.bias, rtol=1e-12, atol=1e-12)
