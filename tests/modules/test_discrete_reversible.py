"""Nets that recompute their activations: inverse, gradients, memory, account, and each family's identity."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.autograd.functional import jacobian
from torch.nn import functional as F

from integrand.errors import UsageError
from integrand.modules import (
    AntisymmetricNet,
    HamiltonianNet,
    LeapfrogNet,
    MidpointNet,
    MomentumResNet,
    ResNet,
    RevNet,
    families,
)
from integrand.modules.discrete.layers import AntisymmetricLayer, SymmetricLayer
from integrand.modules.discrete.reversible import Coupling, ReversibleDynamics
from integrand.solvers import count
from integrand.spec import Classes, ImageSpec

SPEC = ImageSpec("made-up", Classes(3), (1, 8, 8))
X = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Y = torch.tensor([0, 1, 2, 1])

REVERSIBLE = [f for f in families() if f.reversible]
every_reversible = pytest.mark.parametrize("family", REVERSIBLE, ids=lambda f: f.family)


def build(family, channels=6, **kwargs):
    torch.manual_seed(0)
    return family(SPEC, channels=channels, **kwargs).double()


def small_map(channels, side=3, seed=1):
    return torch.randn(
        1, channels, side, side, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )


def flat_jacobian(function, x):
    matrix = jacobian(lambda v: function(v.view_as(x)).flatten(), x.flatten(), vectorize=True)
    return matrix


def linear(dynamics):
    """Take the activations and biases out, so that the net is a linear recursion."""
    for layer in dynamics.residuals():
        layer.activation = nn.Identity()
        nn.init.zeros_(layer.bias)
    return dynamics


def test_reversible_families_are_those_of_the_survey():
    names = {f.family for f in REVERSIBLE}
    assert names >= {"revnet", "hamiltonian-net", "midpoint-net", "leapfrog-net", "momentum-resnet"}


@every_reversible
def test_inverse_returns_the_input(family):
    dynamics = build(family, blocks=10).net.dynamics
    x = small_map(6, side=8)
    a, b = dynamics.start(x)
    state = (a, b)
    solution = dynamics(x)
    # rerun the steps for both maps of the final state; the head reads part of it
    f = _plain(dynamics)
    for n in range(dynamics.blocks):
        state = dynamics.step(n, state, f)
    assert torch.equal(dynamics.read(dynamics.blocks, state), solution.ys[-1])
    back = dynamics.inverse(*state)
    # 10 steps of float64 round-off on states of size 10; momentum multiplies it by γ^{-10} = 2.9
    for start, found in zip((a, b), back, strict=True):
        torch.testing.assert_close(found, start, rtol=0, atol=1e-12)


def _plain(dynamics):
    zero = torch.zeros((), dtype=torch.float64)
    return lambda field, y: field(zero, y)


@pytest.mark.parametrize("blocks", [1, 2, 7])
@every_reversible
def test_gradients_are_those_of_autograd(family, blocks, accounts):
    results = []
    for reversible_backward in (True, False):
        module = build(family, blocks=blocks, reversible_backward=reversible_backward)
        F.cross_entropy(module(X), Y).backward()
        results.append({n: p.grad for n, p in module.named_parameters()})
        assert accounts(module)[0].gradient == ("reversible" if reversible_backward else "backprop")
    for name, expected in results[1].items():
        # equal but for the round-off of the recomputed activations, 1e-16 at each of at most 14 couplings
        torch.testing.assert_close(results[0][name], expected, rtol=1e-10, atol=1e-13)


def test_gradient_of_a_learned_velocity_is_that_of_autograd():
    grads = []
    for reversible_backward in (True, False):
        module = build(MomentumResNet, velocity="learned", reversible_backward=reversible_backward)
        F.cross_entropy(module(X), Y).backward()
        grads.append(module.net.dynamics.velocity.weight.grad)
    assert grads[1].abs().max() > 1e-4
    # recomputation of four blocks, as above
    torch.testing.assert_close(*grads, rtol=1e-10, atol=1e-13)


def saved_bytes(module):
    """Bytes that the forward pass keeps for the backward pass, parameters left out."""
    parameters = {p.untyped_storage().data_ptr() for p in module.parameters()}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)  # holding it keeps the address from reuse
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        module(X)
    return sum(size for size, _ in kept.values())


@every_reversible
def test_memory_kept_for_the_backward_pass_is_flat_in_depth(family):
    def grown(reversible_backward):
        sizes = [
            saved_bytes(build(family, blocks=b, reversible_backward=reversible_backward)) for b in (2, 32)
        ]
        return sizes[1] / sizes[0]

    assert grown(True) == 1
    # without recomputation each of 30 further blocks keeps two maps or more: a factor of 4 beside the stem
    assert grown(False) > 4


@every_reversible
def test_the_backward_account_is_what_was_evaluated(family, accounts):
    module = build(family, blocks=3)
    with count(*module.net.dynamics.residuals()) as seen:
        loss = F.cross_entropy(module(X), Y)
        forward = seen.calls
        loss.backward()
    stats = accounts(module)[0]
    assert stats.nfe_forward == forward >= 3
    assert stats.nfe_backward == seen.calls - forward == forward
    assert stats.vjps == forward


@every_reversible
def test_without_gradients_nothing_is_recomputed(family, accounts):
    module = build(family, blocks=3)
    with torch.inference_mode():
        expected = module(X)
    assert accounts(module)[0].gradient == "backprop"
    assert torch.equal(expected, module(X).detach())


@pytest.mark.parametrize("family", [RevNet, HamiltonianNet], ids=lambda f: f.family)
def test_volume_is_kept(family):
    """Additive couplings are triangular with unit diagonal: |det J| = 1."""
    dynamics = build(family, channels=4, blocks=3, reversible_backward=False).net.dynamics
    x = small_map(4)
    matrix = flat_jacobian(lambda v: dynamics(v).ys[-1], x)
    # 36 × 36 float64 matrix of condition below 1e4
    assert torch.linalg.slogdet(matrix)[1].item() == pytest.approx(0, abs=1e-10)
    assert (matrix - torch.eye(36)).abs().max() > 0.1


def symplectic_defect(dynamics, x):
    matrix = flat_jacobian(lambda v: dynamics(v).ys[-1], x)
    half = matrix.shape[0] // 2
    omega = torch.zeros_like(matrix)
    omega[:half, half:] = torch.eye(half)
    omega[half:, :half] = -torch.eye(half)
    return (matrix.T @ omega @ matrix - omega).abs().max().item()


def test_hamiltonian_net_is_symplectic_and_revnet_is_not():
    """JᵀΩJ = Ω, because the Jacobian Kᵀ diag(σ′) K of each coupling is symmetric."""
    options = {"channels": 4, "blocks": 3, "reversible_backward": False}
    # six products of 36 × 36 float64 matrices of norm below 10
    assert (
        symplectic_defect(
            build(HamiltonianNet, activation="tanh", h=0.7, **options).net.dynamics, small_map(4)
        )
        < 1e-12
    )
    assert symplectic_defect(build(RevNet, **options).net.dynamics, small_map(4)) > 1e-2


def test_symmetric_layer_is_a_gradient_and_antisymmetric_layer_has_imaginary_spectrum():
    torch.manual_seed(0)
    y = small_map(3)
    zero = torch.zeros(())
    symmetric = SymmetricLayer(3, "tanh").double()
    matrix = flat_jacobian(lambda v: symmetric(zero, v), y)
    torch.testing.assert_close(matrix, matrix.T, rtol=0, atol=1e-14)  # round-off of one sum of 27 terms
    assert torch.linalg.eigvalsh(matrix).min() > -1e-14  # convex potential
    antisymmetric = AntisymmetricLayer(3).double()
    antisymmetric.activation = nn.Identity()
    matrix = flat_jacobian(lambda v: antisymmetric(zero, v), y)
    eigenvalues = torch.linalg.eigvals(matrix)
    assert eigenvalues.real.abs().max() < 1e-13  # backward error of eigvals, 1e-16 times the norm
    assert eigenvalues.imag.abs().max() > 0.3
    antisymmetric.gamma = 0.25
    damped = torch.linalg.eigvals(flat_jacobian(lambda v: antisymmetric(zero, v), y))
    torch.testing.assert_close(damped.real, torch.full_like(damped.real, -0.25), rtol=0, atol=1e-13)


def growth(module, blocks):
    """Largest norm of the states on the way, relative to the first."""
    ys = module.net.dynamics(small_map(6, side=8), blocks + 1).ys
    return ys.flatten(1).norm(dim=1).max().item() / ys[0].norm().item()


def test_linear_midpoint_is_bounded_below_its_step_limit_and_not_above():
    """Characteristic roots r − 1/r = 2ihλ lie on the unit circle exactly for h|λ| ≤ 1."""
    layer = build(MidpointNet, blocks=1).net.dynamics.residuals()[0]
    layer.activation = nn.Identity()
    zero = torch.zeros(())
    matrix = flat_jacobian(lambda v: layer(zero, v), small_map(6, side=8))
    largest = torch.linalg.eigvals(matrix).imag.abs().max().item()

    def grown(h):
        module = build(MidpointNet, blocks=200, h=h)
        for other in linear(module.net.dynamics).residuals():
            other.kernel.data.copy_(layer.kernel.data)
        return growth(module, 200)

    # the two roots beat against each other: 1/√(1 − (hλ)²) ≈ 2.3 at 0.9
    assert grown(0.9 / largest) < 3
    assert grown(1.1 / largest) > 1e6


def test_linear_leapfrog_conserves_its_energy():
    """E = ½‖(Y_{j+1} − Y_j)/h‖² + ½⟨K Y_{j+1}, K Y_j⟩ is constant for Y″ = −KᵀK Y."""
    h = 0.5
    dynamics = linear(build(LeapfrogNet, blocks=50, h=h).net.dynamics)
    kernel = dynamics.residuals()[0].kernel
    for layer in dynamics.residuals():
        layer.kernel.data.copy_(kernel.data)
    with torch.no_grad():
        ys = dynamics(small_map(6, side=8), 51).ys
        ky = F.conv2d(ys.flatten(0, 1), kernel, padding=1).flatten(1)
    speed = (ys[1:] - ys[:-1]).flatten(1) / h
    energies = (speed**2).sum(1) / 2 + (ky[1:] * ky[:-1]).sum(1) / 2
    # 50 steps of round-off on sums of 384 terms
    torch.testing.assert_close(energies, energies[:1].expand(50), rtol=1e-11, atol=0)
    assert speed.norm(dim=1).max() > 0.5


def tied(family, blocks, **options):
    """A linear net of `blocks` equal steps of size 1/blocks, and one layer of each kind."""
    dynamics = linear(build(family, channels=4, blocks=blocks, h=1 / blocks, **options).net.dynamics)
    layers = dynamics.residuals()
    # of the two kinds of layers of the Hamiltonian net, each is tied to its first
    kinds = 2 if family is HamiltonianNet else 1
    for kind in range(kinds):
        for layer in layers[kind * blocks : (kind + 1) * blocks]:
            width = len(layer.kernel)
            # the same for every number of blocks, of the size that kernels start with
            layer.kernel.data = 0.15 * small_map(width * width, seed=kind).view(width, width, 3, 3)
    return dynamics, layers[:: blocks if kinds == 2 else len(layers)]


def flow(family, layers, x):
    """The linear equation at time 1 by the matrix exponential."""
    zero = torch.zeros(())
    if family is HamiltonianNet:
        of_z, of_y = (flat_jacobian(lambda v, f=f: f(zero, v), x[:, :2]) for f in layers)
        nothing = torch.zeros_like(of_z)
        generator = torch.cat([torch.cat([nothing, of_z], 1), torch.cat([-of_y, nothing], 1)])
    else:
        generator = flat_jacobian(lambda v: layers[0](zero, v), x)
    if family is LeapfrogNet:
        speeds, vectors = torch.linalg.eigh(generator)
        return vectors @ (torch.cos(speeds.clamp(min=0).sqrt()) * (vectors.T @ x.flatten()))
    return torch.linalg.matrix_exp(generator) @ x.flatten()


@pytest.mark.parametrize(
    ("family", "options", "order"),
    [
        (HamiltonianNet, {}, 1),
        (MidpointNet, {}, 2),
        (AntisymmetricNet, {"gamma": 0.2}, 1),
        (LeapfrogNet, {}, 1),  # second order but for its start: at rest half a step too early
    ],
    ids=lambda value: getattr(value, "family", ""),
)
def test_linear_tied_nets_converge_to_their_equation(family, options, order):
    x = small_map(4)
    errors = []
    for blocks in (40, 80, 160):
        dynamics, layers = tied(family, blocks, **options)
        errors.append((dynamics(x).ys[-1].flatten() - flow(family, layers, x)).norm().item())
    slopes = [math.log2(a / b) for a, b in pairwise(errors)]
    # the next order's share of the error is below 1/40 of a slope of 1
    assert slopes == pytest.approx([order, order], abs=0.1)


def test_leapfrog_starts_at_rest():
    dynamics = build(LeapfrogNet, blocks=1, h=0.3).net.dynamics
    x = small_map(6, side=8)
    layer = dynamics.residuals()[0]
    # 2Y₀ − Y₀ is exact; the product with h² = 0.09 is rounded once
    torch.testing.assert_close(dynamics(x).ys[-1], x - 0.3**2 * layer(None, x), rtol=1e-14, atol=1e-14)


def test_antisymmetric_net_is_contracting_for_linear_layers_with_enough_damping():
    """|1 + h(iω − γ)| ≤ 1 exactly for h(ω² + γ²) ≤ 2γ."""

    def grown(gamma, h):
        module = build(AntisymmetricNet, blocks=100, h=h, gamma=gamma)
        linear(module.net.dynamics)
        return growth(module, 100)

    # |ω| < 2 at this start, so that 2γ/(ω² + γ²) > 0.38 for γ = 1
    assert grown(gamma=1.0, h=0.38) <= 1 + 1e-12
    assert grown(gamma=0.0, h=0.38) > 2


def test_momentum_without_gamma_is_the_resnet():
    momentum = build(MomentumResNet, gamma=0.0, reversible_backward=False)
    resnet = build(ResNet)
    resnet.load_state_dict(momentum.state_dict())
    assert torch.equal(momentum(X), resnet(X))


def test_momentum_with_a_constant_force_is_a_geometric_sum():
    """f = c and v₀ = 0: v_n = (1 − γⁿ) c, so that x_N = x₀ + (N − γ(1 − γᴺ)/(1 − γ)) c."""
    gamma, blocks, c = 0.8, 6, 0.3

    class Constant(nn.Module):
        def forward(self, t, y):
            return torch.full_like(y, c)

    dynamics = build(MomentumResNet, gamma=gamma, blocks=blocks, reversible_backward=False).net.dynamics
    dynamics.fields = nn.ModuleList(Constant() for _ in range(blocks))
    x = small_map(6)
    expected = x + (blocks - gamma * (1 - gamma**blocks) / (1 - gamma)) * c
    torch.testing.assert_close(dynamics(x).ys[-1], expected, rtol=1e-14, atol=1e-14)


def test_a_float32_inverse_within_the_bound_on_bits_keeps_half_the_digits():
    """12 of 24 bits may go: the start comes back to about 2⁻¹² of the size of the state."""
    gamma = 0.5
    dynamics = build(MomentumResNet, blocks=12, gamma=gamma).float().net.dynamics
    x = small_map(6, side=8).float()
    state = dynamics.start(x)
    with torch.no_grad():
        for n in range(12):
            state = dynamics.step(n, state, _plain(dynamics))
    _, v = dynamics.inverse(*state)
    # v₀ = 0; the states are of size 10, and round-off of each step is amplified by 1 + 2 + … + 2¹²
    assert 0 < v.abs().max() < 10 * 2 ** (13 - 24) * 4


class _Shrinking(nn.Module):
    def forward(self, t, y):
        return F.avg_pool2d(y, 2)


class _Noisy(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(6, 6, 3, padding=1)

    def forward(self, t, y):
        return F.dropout(self.conv(y), 0.1, self.training)


class _OneField(ReversibleDynamics):
    scheme = "made-up"

    def __init__(self, field, keep=1.0):
        super().__init__(6, 2)
        self.field, self.keep = field, keep
        self.check_reversible(2)

    def residuals(self):
        return [self.field]

    def couplings(self, n):
        return (Coupling(n % 2, self.field, keep=self.keep),)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: _OneField(_Shrinking()),
            "_Shrinking of a reversible net turns a state of 6 channels into shape",
        ),
        (lambda: _OneField(_Noisy()), "_Noisy of a reversible net draws at random"),
        (
            lambda: _OneField(SymmetricLayer(4)),
            "SymmetricLayer of a reversible net does not take a state of 6",
        ),
        (lambda: _OneField(SymmetricLayer(6), keep=0.0), "step 0 of made-up forgets its state"),
        (lambda: build(RevNet, channels=7), "channels must be even.*set model.channels to 8"),
        (lambda: build(HamiltonianNet, channels=1), "channels must be even"),
        (lambda: build(MomentumResNet, gamma=0.0), "forgets its state and cannot be inverted"),
        (lambda: build(MomentumResNet, gamma=1.0), "gamma must satisfy 0 ≤ gamma < 1, got 1.0"),
        (lambda: build(MomentumResNet, gamma=-0.1), "gamma must satisfy"),
        (lambda: build(MomentumResNet, gamma=math.nan), "gamma must satisfy"),
        (lambda: build(MomentumResNet, gamma=0.1, blocks=8), "loses 27 bits .* raise model.gamma to 0.354"),
        (lambda: build(MomentumResNet, velocity="fast"), "unknown velocity 'fast'"),
        (lambda: build(LeapfrogNet, activation="gelu"), "unknown activation 'gelu' → .*relu, tanh"),
        (lambda: build(MidpointNet, h=0.0), "h must be positive"),
        (lambda: build(MidpointNet, blocks=0), "blocks must be at least 1"),
        (lambda: build(AntisymmetricNet, gamma=-1.0), "gamma must be 0 or more"),
    ],
)
def test_what_cannot_be_inverted_or_is_outside_its_domain_is_refused(make, message):
    with pytest.raises(UsageError, match=message):
        make()


def test_checking_for_reversibility_draws_nothing():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    with pytest.raises(UsageError):
        _OneField(_Shrinking())
    assert torch.equal(torch.rand(1), expected)
