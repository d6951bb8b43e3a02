"""SDE-Net: its law without drift, its two losses, and what it says of numbers; float64."""

import copy
import math

import pytest
import torch
from lightning.pytorch import Trainer, seed_everything
from torch import nn
from torch.nn import functional as F

from integrand.datamodules import Digits
from integrand.errors import UsageError
from integrand.modules import NeuralODE, SDENet
from integrand.modules.stochastic.sde_net import DiffusionNet, SDENetDynamics
from integrand.solvers import Euler
from integrand.spec import Classes, ImageSpec, Targets, VectorSpec

SPEC = ImageSpec("made-up", Classes(3), (1, 8, 8))
X = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Y = torch.tensor([0, 1, 2, 0])


class Still(nn.Module):
    """f = 0."""

    def forward(self, t, x):
        return torch.zeros_like(x)


def build(spec=SPEC, **kwargs):
    torch.manual_seed(0)
    return SDENet(spec, channels=6, **kwargs).double()


def parts(module):
    """Weights of g, and all others."""
    mine = list(module.dynamics.diffusion.parameters())
    kept = {id(p) for p in mine}
    return mine, [p for p in module.parameters() if id(p) not in kept]


@pytest.mark.parametrize("training", [True, False])
def test_without_drift_the_variance_is_that_of_brownian_motion(training):
    """(σ g)² T with σ of the mode and g of the sample, whatever the number of steps."""
    diffusion = DiffusionNet(nn.Module(), 1)
    diffusion.logit = lambda x: x[:, 0]
    dynamics = SDENetDynamics(Still(), diffusion, 1, 0.4, 3.0, 6.0, 5).double().train(training)
    n = 40_000
    torch.manual_seed(1)
    for start in (-1.0, 0.5):
        end = dynamics(torch.full((n, 1), start, dtype=torch.float64)).ys[-1].flatten()
        g = 1 / (1 + math.exp(-start))
        variance = ((0.4 if training else 3.0) * g) ** 2 * 6
        assert end.mean().item() == pytest.approx(start, abs=5 * math.sqrt(variance / n))
        assert end.var().item() == pytest.approx(variance, abs=5 * math.sqrt(2 / n) * variance)


def test_without_noise_it_is_the_neural_ode_by_euler():
    module = build(sigma=0.0, test_sigma=0.0, num_steps=3, samples=1)
    ode = NeuralODE(SPEC, 6, Euler(num_steps=3)).double()
    state = module.state_dict()
    ode.load_state_dict(
        {k.replace("dynamics.drift", "dynamics.field"): v for k, v in state.items() if "diffusion" not in k}
    )
    for mode in (True, False):
        assert torch.equal(module.train(mode)(X), ode.train(mode)(X))
    assert module.components == 1


def test_the_diffusion_starts_at_a_half_and_is_one_number_for_each_sample():
    g = build().doubts(X)["diffusion"]
    torch.testing.assert_close(g, torch.full((4,), 0.5, dtype=torch.float64), rtol=0, atol=0.02)
    assert len(set(g.tolist())) == 4


def test_the_prediction_depends_on_noise_as_far_as_the_diffusion_says():
    spreads = []
    for bias in (-4.0, -2.0, 0.0):
        module = build(test_sigma=1.0).eval()
        nn.init.constant_(module.dynamics.diffusion.readout.bias, bias)
        torch.manual_seed(2)
        spreads.append(torch.softmax(module.draws(X, 50)[0], -1).std(0).mean().item())
    assert spreads[0] < spreads[1] < spreads[2]


def test_each_loss_reaches_its_own_weights_alone():
    module = build().train()
    mine, others = parts(module)
    module.step((X, Y), "train").loss.backward()
    assert all(p.grad is None for p in mine)
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in others)
    module.zero_grad()
    module.diffusion_loss(X).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in mine)
    assert all(p.grad is None for p in others)


def test_in_evaluation_the_gradient_sees_the_diffusion():
    """An attack on the inputs has to."""
    module = build().eval()
    module(X).sum().backward()
    assert all(p.grad is not None for p in module.dynamics.diffusion.parameters())


def test_the_loss_of_the_diffusion_is_the_cross_entropy_of_foreign_inputs():
    module = build(shift=1.5)
    nn.init.normal_(module.dynamics.diffusion.readout.weight)
    torch.manual_seed(5)
    loss = module.diffusion_loss(X)
    torch.manual_seed(5)
    foreign = X + 1.5 * torch.randn_like(X)
    inside, outside = (module.doubts(z)["diffusion"] for z in (X, foreign))
    expected = F.binary_cross_entropy(inside, torch.zeros_like(inside)) + F.binary_cross_entropy(
        outside, torch.ones_like(outside)
    )
    torch.testing.assert_close(loss, expected)


class Frozen:
    """An optimiser maker whose rate is zero."""

    def __call__(self, params):
        return torch.optim.SGD(params, lr=0.0)


def fit(epochs=2, **options):
    seed_everything(0, verbose=False)
    data = Digits(batch_size=64)
    module = SDENet(data.spec, channels=4, **options)
    before = copy.deepcopy(module)
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        limit_train_batches=2,
        limit_val_batches=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(module, datamodule=data)
    changed = [
        [not torch.equal(a, b) for a, b in zip(new, old, strict=True)]
        for new, old in zip(parts(module), parts(before), strict=True)
    ]
    return trainer, changed


def test_each_optimiser_leaves_the_weights_of_the_other_bit_for_bit():
    trainer, (mine, others) = fit(diffusion_optimizer=Frozen())
    assert not any(mine)
    assert all(others)
    assert math.isfinite(trainer.callback_metrics["train/diffusion_loss"])
    _, (mine, others) = fit(optimizer=Frozen())
    assert all(mine)
    assert not any(others)


def test_both_optimisers_follow_the_schedule():
    trainer, _ = fit(lr_scheduler=lambda o: torch.optim.lr_scheduler.StepLR(o, 1, gamma=0.5))
    assert [g["lr"] for o in trainer.optimizers for g in o.param_groups] == [1e-3 / 4, 0.01 / 4]


def numbers(**kwargs):
    return build(VectorSpec("made-up", Targets(("a", "b")), 3), **kwargs)


def test_of_numbers_it_says_mean_and_deviation_and_trains_on_their_density():
    module = numbers(sigma=0.0, test_sigma=0.0).train()
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    y = torch.randn(5, 2, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    raw = module.net(x)[0]
    deviation = F.softplus(raw[:, 2:]) + 1e-3
    density = torch.distributions.Normal(raw[:, :2], deviation).log_prob(y)
    # but for the constant
    expected = -density.mean() - 0.5 * math.log(2 * math.pi)
    torch.testing.assert_close(module.step((x, y), "train").loss, expected)
    outcome = module.eval().step((x, y), "val")
    torch.testing.assert_close(outcome.loss, F.mse_loss(raw[:, :2], y))
    n = 20_000
    torch.manual_seed(6)
    said, _ = module.draws(x, n)
    torch.testing.assert_close(
        said.std(0) / deviation, torch.ones(5, 2, dtype=torch.float64), rtol=0, atol=5 / math.sqrt(2 * n)
    )


@pytest.mark.parametrize(
    "options",
    [
        {"sigma": -1.0},
        {"test_sigma": math.inf},
        {"samples": 0},
        {"shift": 0.0},
        {"num_steps": 0},
        {"t1": 0.0},
    ],
)
def test_numbers_out_of_their_domain_are_refused(options):
    with pytest.raises(UsageError, match=next(iter(options))):
        build(**options)
