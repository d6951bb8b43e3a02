"""SDE-GAN: two players on one loss, a critic that stretches nothing, and exact gradients of its solve."""

import pytest
import torch
from lightning.pytorch import LightningDataModule, Trainer
from torch import nn
from torch.utils.data import DataLoader

from integrand.errors import SpecError, UsageError
from integrand.modules.series.path_generator import LipSwish
from integrand.modules.series.path_grid import on_grid
from integrand.modules.series.path_units import PathUnits
from integrand.modules.series.sde_gan import SDEGAN
from integrand.series import Series
from integrand.spec import Density, SeriesSpec

F64 = torch.float64
SPEC = SeriesSpec("paths", Density(), channels=2, length=6, step=0.5)


def build(seed=0, **kwargs):
    torch.manual_seed(seed)
    return SDEGAN(SPEC, channels=4, hidden=5, **kwargs).double()


@pytest.fixture
def paths(series):
    x = series((6,) * 8, channels=2, missing=0.0)
    x.times = 0.5 * torch.arange(6, dtype=F64).expand(8, -1)
    return x


def test_gradients_reach_every_parameter_of_both(paths):
    module = build()
    outcome = module.step((paths,), "train")
    outcome.loss.backward()
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad.abs().sum() > 0, name
    # reversible Heun: one evaluation a step, one at the start, and one that tells the shape of the noise
    assert outcome.solves[0].nfe_forward == 7
    assert outcome.solves[0].nfe_backward > 0
    assert all(s.nfe_forward == 10 for s in outcome.solves[1:])


def test_the_gradient_of_the_reversible_solve_is_that_of_backprop(paths):
    gradients = []
    for mode in ("reversible", "backprop"):
        module = build()
        module.generator.solver.gradient = mode
        torch.manual_seed(1)
        module.step((paths,), "train").loss.backward()
        gradients.append(torch.cat([p.grad.flatten() for p in module.generator.parameters()]))
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-9, atol=1e-12)


def test_the_two_players_move_their_ways(paths, monkeypatch):
    """With plain gradient descent of a small step the critic raises the loss, the generator lowers it."""
    monkeypatch.setattr("integrand.modules.series.sde_gan.step_schedules", lambda *args: None)
    for player, sign in (("generator", -1), ("critic", 1)):
        module = build(
            optimizer=lambda p: torch.optim.SGD(p, lr=1e-3 if player == "generator" else 0.0),  # noqa: B023
            critic_optimizer=lambda p: torch.optim.SGD(p, lr=1e-3 if player == "critic" else 0.0),  # noqa: B023
        )
        both = module.configure_optimizers()
        module.optimizers = lambda both=both: both
        module.manual_backward = lambda loss: loss.backward()
        module.log = lambda *args, **kwargs: None
        losses = []
        for _ in range(2):
            torch.manual_seed(2)
            losses.append(module.training_step((paths,), 0)["loss"].item())
        assert (losses[1] - losses[0]) * sign > 0


def test_clipped_layers_stretch_nothing_in_the_one_norm(paths):
    module = build()
    with torch.no_grad():
        for p in module.critic.parameters():
            p.mul_(50)
    module.critic.clip()
    layers = [m for m in module.critic.modules() if isinstance(m, nn.Linear)]
    assert len(layers) == 5
    for layer in layers:
        norm = layer.weight.abs().sum(dim=0).max().item()
        # 50 times larger than they were, the weights lie on the bound
        assert norm == pytest.approx(1.0, abs=0.2)
        assert norm <= 1 + 1e-12
    x = torch.linspace(-8, 8, 4001, dtype=F64)
    slope = LipSwish()(x).diff() / x.diff()
    assert 0.99 < slope.abs().max() <= 1.0


def test_an_evaluation_draws_the_same_paths_each_time_and_others_for_each_batch(paths):
    module = build()
    module.on_validation_epoch_start()
    first, second = (module.step((paths,), "val").prediction for _ in range(2))
    module.on_validation_epoch_start()
    assert torch.equal(module.step((paths,), "val").prediction, first)
    assert not torch.equal(first, second)
    assert torch.equal(module.sample(8, seed=0), first)
    assert first.shape == (8, 6, 2)


def test_data_are_read_off_straight_lines_at_the_times_of_the_grid(paths):
    module = build()
    torch.testing.assert_close(on_grid(paths, module.task.times), paths.values)
    values = 2.0 * paths.times.unsqueeze(-1) + torch.tensor([0.0, 1.0], dtype=F64)
    mask = torch.ones_like(paths.mask)
    mask[:, 2, 0] = False
    line = Series(paths.times, values * mask, mask, paths.lengths, paths.static)
    torch.testing.assert_close(on_grid(line, module.task.times), values)
    # a shorter one stands still behind its end
    times = paths.times.clamp_max(1.5)
    mask = (torch.arange(6) < 4)[None, :, None].expand_as(values)
    short = Series(times, values * mask, mask, torch.full((8,), 4), paths.static)
    torch.testing.assert_close(on_grid(short, module.task.times)[:, 3:], values[:, 3:4].expand(-1, 3, -1))


def test_samples_follow_the_averaged_weights(paths):
    module = build()
    before = module.sample(3)
    with torch.no_grad():
        for p in module.generator.parameters():
            p.add_(0.1)
    assert torch.equal(module.sample(3), before)
    module.average.update_parameters(module.generator)
    assert not torch.equal(module.sample(3), before)


def test_units_are_mean_and_deviation_of_all_that_is_measured():
    units = PathUnits(2, spread=4.0).double()
    assert not units.measured
    x = 3.0 + 0.1 * torch.randn(50, 6, 2, dtype=F64)
    x[..., 1] = 7.0
    units.measure([x[:20], x[20:]])
    assert units.measured
    y = units.scaled(x)
    # exact moments up to rounding; a channel that never changes is not blown up
    torch.testing.assert_close(y.mean((0, 1)), torch.zeros(2, dtype=F64), rtol=0, atol=1e-12)
    assert y[..., 0].std(correction=0).item() == pytest.approx(4.0, abs=1e-12)
    assert y[..., 1].abs().max() < 1e-12
    torch.testing.assert_close(units.restore(y), x, rtol=1e-14, atol=0)


def fitted(paths, epochs=1, **kwargs):
    class Data(LightningDataModule):
        def train_dataloader(self):
            return DataLoader([0, 1], batch_size=1, collate_fn=lambda _: (paths,))

    module = build(**kwargs)
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, Data())
    return module, trainer


def test_the_critic_sees_data_and_samples_in_the_same_units_and_users_those_of_the_data(paths):
    paths.values.mul_(0.01).add_(5.0)
    module, _ = fitted(paths)
    data = on_grid(paths, module.task.times)
    seen = []
    module.critic.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    outcome = module.step((paths,), "val")
    torch.testing.assert_close(seen[0], (data - data.mean((0, 1))) / data.std((0, 1), correction=0) * 4.0)
    # samples reach the critic as the equations have them, and leave in the data's units
    torch.testing.assert_close(module.units.restore(seen[1]), outcome.prediction)
    assert torch.equal(outcome.target, data)
    assert torch.equal(module.sample(8), outcome.prediction)


def test_a_model_that_continues_keeps_its_units(paths):
    module, _ = fitted(paths)
    scale = module.units.scale.clone()
    again = build()
    again.load_state_dict(module.state_dict())
    assert again.units.measured
    assert torch.equal(again.units.scale, scale)


def test_both_optimisers_follow_the_schedule(paths):
    _, trainer = fitted(paths, 2, lr_scheduler=lambda o: torch.optim.lr_scheduler.StepLR(o, 1, gamma=0.5))
    rates = [one.param_groups[0]["lr"] for one in trainer.optimizers]
    assert rates == [2e-3 / 4, 4e-3 / 4]


def test_mistakes_are_refused(paths):
    with pytest.raises(UsageError, match="give positive numbers"):
        build(noise=0)
    other = Series(paths.times, paths.values[..., :1], paths.mask[..., :1], paths.lengths, paths.static)
    with pytest.raises(SpecError, match="contradict the spec"):
        build().step((other,), "val")
