"""Attacks against what is known of linear networks, and the evaluation on digits."""

import math

import pytest
import torch
from torch.nn import functional as F

from integrand.errors import UsageError
from integrand.evaluations import auto_attack
from integrand.evaluations.adversarial import Adversarial, Target
from integrand.evaluations.attacks import Ball, fgsm, joined, lengths, pgd
from integrand.evaluations.masking import checks
from integrand.modules.continuous.neural_ode import NeuralODE
from integrand.solvers import Euler


@pytest.fixture
def linear():
    """Loss of two classes by a linear network, its weights, inputs inside the box, and their classes."""
    source = torch.Generator().manual_seed(0)
    w = torch.randn(1, 4, 4, generator=source, dtype=torch.float64)
    x = 0.4 + 0.2 * torch.rand(6, 1, 4, 4, generator=source, dtype=torch.float64)
    y = torch.tensor([0, 1, 0, 1, 1, 0])

    def loss(x, y):
        # −log σ(±w·x): its gradient points along ∓w for every input
        return F.softplus((1 - 2 * y) * (x * w).sum((1, 2, 3)))

    return loss, w, x, y


def test_fgsm_and_pgd_reach_the_corner_of_a_linear_network(linear):
    loss, w, x, y = linear
    ball = Ball("linf", 0.1)
    sign = (1 - 2 * y.double()).view(-1, 1, 1, 1)
    corner = x + 0.1 * sign * w.sign()
    torch.testing.assert_close(fgsm(loss, x, y, ball).x, corner, rtol=0, atol=1e-12)
    torch.manual_seed(0)
    torch.testing.assert_close(pgd(loss, x, y, ball).x, corner, rtol=0, atol=1e-12)


def test_pgd_in_l2_goes_straight_along_the_gradient(linear):
    loss, w, x, y = linear
    sign = (1 - 2 * y.double()).view(-1, 1, 1, 1)
    expected = x + 0.1 * sign * w / w.norm()
    torch.testing.assert_close(fgsm(loss, x, y, Ball("l2", 0.1)).x, expected, rtol=0, atol=1e-12)
    made = pgd(loss, x, y, Ball("l2", 0.1), steps=20, random_start=False)
    torch.testing.assert_close(made.x, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("eps", [0.03, 0.5, 3.0])
def test_perturbations_stay_in_ball_and_range(norm, eps, linear):
    loss, _, x, y = linear
    x = x.float()
    ball = Ball(norm, eps)
    torch.manual_seed(0)
    for made in (ball.start(x), pgd(lambda x, y: loss(x.double(), y).float(), x, y, ball, steps=3).x):
        assert made.min() >= 0
        assert made.max() <= 1
        assert ball.size(made, x).max() <= eps * (1 + 1e-6)
        assert ball.size(made, x).max() > 0.2 * min(eps, 0.4)


def test_a_step_is_one_forward_and_one_backward_pass(linear):
    loss, _, x, y = linear
    calls = []
    made = pgd(lambda x, y: calls.append(len(x)) or loss(x, y), x, y, Ball("linf", 0.1), steps=7)
    assert calls == [6] * 7
    assert len(made.losses) == 7
    assert made.losses[-1] > made.losses[0]


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_where_there_is_no_gradient_nothing_moves_and_nothing_is_nan(norm, linear):
    _, _, x, y = linear
    made = pgd(lambda x, y: 0 * x.sum((1, 2, 3)), x, y, Ball(norm, 0.1), random_start=False)
    assert torch.equal(made.x, x)
    assert made.flat == 1


def test_each_input_climbs_its_own_loss(linear):
    loss, _, x, y = linear
    together = pgd(loss, x, y, Ball("l2", 0.3), steps=5, random_start=False).x
    for i in range(len(x)):
        part = slice(i, i + 1)
        alone = pgd(loss, x[part], y[part], Ball("l2", 0.3), steps=5, random_start=False).x
        torch.testing.assert_close(alone, together[part], rtol=0, atol=1e-12)


def test_parts_join_to_the_whole(linear):
    loss, _, x, y = linear
    ball = Ball("l2", 0.3)
    whole = pgd(loss, x, y, ball, steps=5, random_start=False)
    parts = [pgd(loss, x[s], y[s], ball, steps=5, random_start=False) for s in (slice(0, 4), slice(4, 6))]
    made = joined(parts)
    torch.testing.assert_close(made.x, whole.x, rtol=0, atol=1e-12)
    torch.testing.assert_close(made.losses, whole.losses, rtol=0, atol=1e-12)


def test_agreement_with_torchattacks(digits_net):
    package = pytest.importorskip("torchattacks")
    model, data = digits_net
    target = Target(model, data, 1)
    x, y = data.some("test", 32)
    x = data.denormalise(x)
    net = auto_attack._Network(target.logits)
    eps = 0.1
    theirs = package.PGD(net, eps=eps, alpha=0.02, steps=10, random_start=False)(x, y)
    ours = pgd(target.loss, x, y, Ball("linf", eps), 10, 0.02, random_start=False).x
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
    torch.testing.assert_close(
        fgsm(target.loss, x, y, Ball("linf", eps)).x, package.FGSM(net, eps=eps)(x, y), rtol=0, atol=1e-6
    )
    theirs = package.PGDL2(net, eps=0.5, alpha=0.1, steps=10, random_start=False)(x, y)
    ours = pgd(target.loss, x, y, Ball("l2", 0.5), 10, 0.1, random_start=False).x
    # they scale a gradient by 1/(‖g‖ + 1e-10), and may step over kinks of the network otherwise
    assert float(lengths(ours - theirs).median()) < 1e-3


def test_an_undefended_network_falls_and_the_checks_hold(digits_net):
    model, data = digits_net
    evaluation = Adversarial(eps=0.1, n=60)
    found = {f.label: f for f in evaluation.measure(model, data)}
    acc = {label: f.quantities.get("acc") for label, f in found.items()}
    assert acc["none"] > 0.8
    assert acc["pgd-20 linf"] < acc["none"] - 0.2
    assert acc["pgd-20 linf"] <= acc["fgsm linf"] + 0.02
    assert acc["whole range linf"] == 0
    assert found["pgd-20 linf"].quantities["perturbation"] == pytest.approx(0.1, rel=1e-6)
    assert found["pgd-20 l2"].quantities["perturbation"] <= 0.5 * (1 + 1e-6)
    assert found["checks"].quantities["masking_signs"] == 0
    summary = evaluation.summary(list(found.values()))
    assert len(summary.tables["checks"]) == 5
    assert [p.name for p in summary.pictures] == ["attack_loss"]
    assert summary.notes == []


def test_gradients_of_random_answers_are_those_of_the_mean_of_draws(noisy, digits):
    x, y = digits.some("test", 20)
    x = digits.denormalise(x)

    def gradient(passes, seed):
        torch.manual_seed(seed)
        at = x.clone().requires_grad_(True)
        Target(noisy, digits, passes).loss(at, y).sum().backward()
        return at.grad

    few, many = ((gradient(n, 0) - gradient(n, 1)).norm() for n in (1, 25))
    # the error of a mean falls as 1/√n, five here; the loss is not linear in the mean, so not quite
    assert many < few / 2.5
    labels = [f.label for f in Adversarial(n=10, passes=2, steps=2).measure(noisy, digits)]
    assert "one draw linf" in labels


def test_a_solver_is_attacked_through_finer_steps_too(digits):
    torch.manual_seed(0)
    model = NeuralODE(digits.spec, channels=4, solver=Euler(num_steps=2)).eval()
    own = model.net.dynamics.solver
    found = {f.label: f for f in Adversarial(n=10, steps=2).measure(model, digits)}
    assert math.isfinite(found["finer steps linf"].quantities["acc"])
    assert model.net.dynamics.solver is own


def test_masked_gradients_are_noticed():
    seen = {"none": 0.9, "fgsm linf": 0.3, "pgd-20 linf": 0.6, "transfer linf": 0.2, "whole range linf": 0.4}
    failing = [
        c.name for c in checks(seen, {"pgd-20 linf": [1.0, 0.9]}, "pgd-20", flat=0.5, n=200) if not c.holds
    ]
    assert len(failing) == 5
    fine = {"fgsm linf": 0.31, "pgd-20 linf": 0.3, "transfer linf": 0.8, "whole range linf": 0.0}
    assert all(c.holds for c in checks(fine, {"pgd-20 linf": [1.0, 1.9]}, "pgd-20", flat=0.0, n=200))


def test_what_cannot_be_attacked_is_refused(monkeypatch, digits_net):
    for given, words in {"n": "n=0", "steps": "steps=0", "passes": "passes=0"}.items():
        with pytest.raises(UsageError, match=words):
            Adversarial(**{given: 0})
    with pytest.raises(UsageError, match="is no radius"):
        Adversarial(eps=-1.0)
    assert "classifies" in Adversarial.fits(object(), digits_net[1])
    monkeypatch.setitem(__import__("sys").modules, "torchattacks", None)
    with pytest.raises(UsageError, match="needs the package torchattacks"):
        list(Adversarial(auto=True, n=2, steps=1).measure(*digits_net))
