"""Shake-shake: the law of its draws, forward and backward, and its account."""

import math

import pytest
import torch

from integrand.errors import UsageError
from integrand.modules import AntisymmetricNet, ResNet
from integrand.modules.noise import ShakeShake
from integrand.solvers import count
from integrand.spec import Classes, ImageSpec

SPEC = ImageSpec("made-up", Classes(3), (1, 8, 8))
X = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def build(mode="shake-shake", per="image", blocks=2):
    torch.manual_seed(0)
    return ResNet(SPEC, channels=6, blocks=blocks, noise=ShakeShake(mode, per)).double()


def proportions(mode, per="image", n=20_000):
    """α and β that one training pass used for each of n images, from the branches a = x and b = 0."""
    torch.manual_seed(3)
    noise = ShakeShake(mode, per)
    x = torch.ones(n, 1, 1, 1, dtype=torch.float64, requires_grad=True)
    out = noise.join(x, torch.zeros_like(x))
    (gradient,) = torch.autograd.grad(out.sum(), x)
    return out.detach().flatten(), gradient.flatten()


def is_uniform(sample):
    """Mean ½ and variance 1/12 within 5 standard errors, by the fourth central moment 1/80; inside (0, 1)."""
    n = len(sample)
    assert 0 <= sample.min() < 0.01 < 0.99 < sample.max() <= 1
    assert sample.mean().item() == pytest.approx(0.5, abs=5 * math.sqrt(1 / 12 / n))
    assert sample.var().item() == pytest.approx(1 / 12, abs=5 * math.sqrt((1 / 80 - 1 / 144) / n))


def test_forward_and_backward_proportions_are_uniform_and_independent():
    alpha, beta = proportions("shake-shake")
    is_uniform(alpha)
    is_uniform(beta)
    # the correlation of n independent pairs has standard error 1/√n
    assert abs(torch.corrcoef(torch.stack([alpha, beta]))[0, 1].item()) < 5 / math.sqrt(len(alpha))


def test_the_other_modes_keep_or_fix_their_proportions():
    alpha, beta = proportions("shake-keep")
    is_uniform(alpha)
    assert torch.equal(alpha, beta)
    alpha, beta = proportions("shake-even")
    is_uniform(alpha)
    assert (beta == 0.5).all()
    alpha, beta = proportions("even-shake")
    assert (alpha == 0.5).all()
    is_uniform(beta)


def test_one_draw_for_the_batch():
    alpha, beta = proportions("shake-shake", per="batch", n=10)
    assert len(alpha.unique()) == len(beta.unique()) == 1
    assert alpha[0] != beta[0]


def test_gradients_of_both_branches_add_up_to_that_of_the_sum():
    torch.manual_seed(0)
    a, b = (torch.randn(3, 2, 2, 2, dtype=torch.float64, requires_grad=True) for _ in range(2))
    weight = torch.randn(3, 2, 2, 2, dtype=torch.float64)
    da, db = torch.autograd.grad((ShakeShake().join(a, b) * weight).sum(), (a, b))
    torch.testing.assert_close(da + db, weight, rtol=1e-14, atol=1e-14)
    # one β for each image
    ratio = (da / weight).flatten(1)
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio), rtol=1e-12, atol=0)


def test_equal_branches_leave_no_noise():
    module = build()
    for field, branch in zip(module.net.dynamics.fields, module.noise.branches, strict=True):
        branch.load_state_dict(field.state_dict())
    torch.manual_seed(0)
    plain = ResNet(SPEC, channels=6, blocks=2).double()
    plain.load_state_dict({k: v for k, v in module.state_dict().items() if not k.startswith("noise")})
    # α f + (1 − α) f rounds a few times; states are of size 1
    torch.testing.assert_close(module.train()(X), plain(X), rtol=1e-12, atol=1e-12)


def test_even_even_is_the_mean_of_the_branches_with_the_gradient_of_autograd():
    module = build("even-even")
    fields, branches = module.net.dynamics.fields, module.noise.branches
    h = module.net.stem(X)
    t = torch.zeros((), dtype=torch.float64)
    y = h
    for n in range(2):
        y = y + _mean(module, n, t, y)
    parameters = [*fields.parameters(), *branches.parameters()]
    expected = torch.autograd.grad(y.square().sum(), parameters, retain_graph=True)
    for mode in (module.train(), module.eval()):
        ours = mode.net.dynamics(h).ys[-1]
        torch.testing.assert_close(ours, y, rtol=1e-13, atol=1e-13)
        for a, b in zip(
            torch.autograd.grad(ours.square().sum(), parameters, retain_graph=True), expected, strict=True
        ):
            # sums over pixels in another order
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)
    assert not module.stochastic


def _mean(module, n, t, y):
    """½(f₁ + f₂) without the hooks of the noise."""
    return 0.5 * (module.net.dynamics.fields[n].forward(t, y) + module.noise.branches[n](t, y))


def test_evaluation_takes_half_of_each_whatever_the_mode():
    expected = build("even-even").eval()(X)
    for mode in ("shake-shake", "shake-keep", "shake-even", "even-shake"):
        assert torch.equal(build(mode).eval()(X), expected)


def test_second_branches_are_other_functions_that_are_trained_and_counted(accounts):
    module = build(blocks=3)
    fields, branches = module.net.dynamics.fields, module.noise.branches
    assert len(branches) == 3
    for field, branch in zip(fields, branches, strict=True):
        assert not torch.equal(field.conv1.conv.weight, branch.conv1.conv.weight)
    with count(*fields, *branches) as seen:
        module(X).sum().backward()
    stats = accounts(module)[-1]
    assert stats.nfe_forward == seen.calls == 6
    assert stats.vjps == 6
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in branches.parameters())


def test_a_layer_that_cannot_be_drawn_again_is_refused():
    with pytest.raises(
        UsageError, match=r"second AntisymmetricLayer: its AntisymmetricLayer has no reset_par"
    ):
        AntisymmetricNet(SPEC, channels=6, noise=ShakeShake())


def test_gradcheck_of_the_mixture_where_both_proportions_agree():
    torch.manual_seed(0)
    noise = ShakeShake("even-even")
    a, b = (torch.randn(2, 1, 2, 2, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(noise.join, (a, b))
