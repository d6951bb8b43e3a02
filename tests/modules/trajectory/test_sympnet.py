"""What holds for SympNets at any weights, in float64."""

import pytest
import torch

from integrand.errors import UsageError
from integrand.modules import SympNet
from integrand.modules.trajectory.sympnet import gradient_map, linear_activation_map
from integrand.series import Series
from integrand.spec import Forecast, SeriesSpec

ROUND_OFF = {"rtol": 0, "atol": 1e-12}
MAPS = {
    "gradient": lambda: gradient_map(2, 5, 7),
    "linear-activation": lambda: linear_activation_map(2, 3, 3),
}


@pytest.fixture(params=MAPS)
def phi(request):
    torch.manual_seed(0)
    made = MAPS[request.param]().double()
    scale = 1.5 if request.param == "gradient" else 0.5
    with torch.no_grad():  # the map starts near the identity, where everything is symplectic
        for parameter in made.parameters():
            parameter.copy_(scale * torch.randn_like(parameter))
    return made


def states(batch=5):
    return torch.randn(batch, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def steps(h, batch=5):
    return torch.full((batch, 1), h, dtype=torch.float64)


def test_the_map_is_symplectic(phi):
    jacobian = torch.func.jacrev(lambda y: phi(y[None], steps(0.7, 1))[0])(states()[0])
    zero, one = torch.zeros(2, 2), torch.eye(2)
    omega = torch.cat([torch.cat([zero, one], 1), torch.cat([-one, zero], 1)]).double()
    torch.testing.assert_close(jacobian.T @ omega @ jacobian, omega, **ROUND_OFF)
    assert not torch.allclose(jacobian, torch.eye(4).double(), atol=0.1)


def test_no_time_is_the_identity(phi):
    assert torch.equal(phi(states(), steps(0.0)), states())


def test_the_inverse_undoes_the_map(phi):
    torch.testing.assert_close(phi.inverse(phi(states(), steps(0.7)), steps(0.7)), states(), **ROUND_OFF)


def test_every_half_moves_by_the_other(phi):
    moved = phi(states(), steps(0.7))
    assert (moved != states()).all()


def net(**kwargs):
    torch.manual_seed(0)
    spec = SeriesSpec("example", Forecast(1, 6), channels=4, length=1, step=0.5)
    return SympNet(spec, **kwargs).double()


def series(y, start=0.0):
    batch = len(y)
    return Series(
        torch.full((batch, 1), start, dtype=torch.float64),
        y[:, None],
        torch.ones(batch, 1, 4, dtype=torch.bool),
        torch.ones(batch, dtype=torch.int64),
        torch.zeros(batch, 0),
    )


def times(*rows):
    return torch.tensor(rows, dtype=torch.float64)


def test_a_forecast_applies_the_map_step_by_step():
    module = net()
    y = states(2)
    said = module(series(y), times([0.5, 1.5], [0.6, 0.6]))
    first = module.map(y, times([0.5], [0.6]))
    second = module.map(module.map(first[:1], steps(0.5, 1)), steps(0.5, 1))
    torch.testing.assert_close(said[:, 0], first, **ROUND_OFF)
    torch.testing.assert_close(said[:1, 1], second, **ROUND_OFF)
    torch.testing.assert_close(said[1:, 1], first[1:], **ROUND_OFF)  # the same time again


def test_a_series_is_forecast_alike_alone_and_beside_others_and_at_any_time():
    module = net()
    y = states(2)
    asked = times([0.5, 1.5], [2.5, 9.0])
    together = module(series(y), asked)
    torch.testing.assert_close(module(series(y[:1]), asked[:1]), together[:1], **ROUND_OFF)
    torch.testing.assert_close(module(series(y, 3.0), asked + 3), together, **ROUND_OFF)


def test_the_account_is_what_was_evaluated():
    module = net(layers=3)
    calls = 0

    def counted(*_):
        nonlocal calls
        calls += 1

    for shear in module.map.shears:
        shear.register_forward_hook(counted)
    said, (stats,) = module.evaluate(series(states(2)), times([0.5, 1.5], [0.6, 0.6]))
    assert stats.nfe_forward == calls == 9
    said.sum().backward()
    assert stats.vjps == calls
    assert all(p.grad.abs().sum() > 0 for p in module.parameters())


@pytest.mark.parametrize("wrong", [{"layers": 0}, {"step": 0.0}, {"step": -1.0}])
def test_what_makes_no_map_is_refused(wrong):
    with pytest.raises(UsageError, match="make no map"):
        net(**wrong)


def test_missing_values_of_the_state_are_refused():
    with pytest.raises(UsageError, match="may lack"):
        SympNet(SeriesSpec("example", Forecast(1, 6), channels=4, length=1, missing=True))


def test_training_on_derivatives_is_refused():
    with pytest.raises(UsageError, match="learns a map"):
        net()(series(states(2)), times([], []))
