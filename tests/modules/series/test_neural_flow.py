"""Solution maps: the identity at 0, an inverse whatever the weights, and the recurrence around them."""

import pytest
import torch
from torch.func import jacrev, vmap

from integrand.errors import UsageError
from integrand.modules.series.flows import CouplingFlow, GRUFlow, ResNetFlow, Stacked
from integrand.modules.series.neural_flow import NeuralFlow
from integrand.modules.series.observations import told
from integrand.series import Series
from integrand.spec import Forecast

F64 = torch.float64
MAPS = {
    "resnet": lambda: ResNetFlow(5, 7),
    "gru": lambda: GRUFlow(5, 7),
    "coupling": lambda: Stacked([CouplingFlow(5, 7, True), CouplingFlow(5, 7, False)]),
    "coupling-other-half": lambda: CouplingFlow(5, 7, False),
}


@pytest.fixture(params=MAPS)
def flow(request):
    """A map with weights ten times as large as fresh ones."""
    torch.manual_seed(0)
    made = MAPS[request.param]().double()
    for name, p in made.named_parameters():
        if "rate" not in name:
            p.data *= 10
    return made


def points(n=20):
    """Times, states inside the cube."""
    g = torch.Generator().manual_seed(1)
    return torch.rand(n, 1, generator=g, dtype=F64) * 3, torch.rand(n, 5, generator=g, dtype=F64) * 2 - 1


def test_at_time_0_it_is_the_identity(flow):
    t, h = points()
    assert torch.equal(flow(torch.zeros_like(t), h), h)
    assert (flow(t, h) - h).abs().max() > 0.1


def test_its_inverse_returns_the_state(flow):
    t, h = points()
    # by a fixed point that contracts by 0.9 at least in each of 200 steps: 7e-10 of what is moved
    torch.testing.assert_close(flow.inverse(t, flow(t, h)), h, rtol=0, atol=1e-8)


@pytest.mark.parametrize("kind", ["resnet", "gru"])
def test_the_change_contracts_at_every_time(kind):
    torch.manual_seed(0)
    made = MAPS[kind]().double()
    for p in made.parameters():
        p.data *= 10
    t, h = points(200)
    jacobians = vmap(lambda time, state: jacrev(lambda s: made.change(time, s))(state))(t, h)
    assert torch.linalg.matrix_norm(jacobians, 2).max() < 1.0


def test_the_gru_flow_keeps_the_state_in_the_cube():
    torch.manual_seed(0)
    made = GRUFlow(5, 7).double()
    for p in made.parameters():
        p.data *= 50
    t, h = points(500)
    assert made(100 * t, h.sign()).abs().max() <= 1.0


def test_without_a_candidate_the_gru_flow_decays_by_two_fifths_at_most():
    """All gates cut off: F = h + tanh(αt) · 0.4 · ½ · (tanh 0 − h)."""
    made = GRUFlow(5, 7).double()
    for name, p in made.named_parameters():
        p.data.fill_(1.0 if "rate" in name else 0.0)
    t, h = points()
    torch.testing.assert_close(made(t, h), h * (1 - 0.2 * torch.tanh(t)))


def build(spec, **kwargs):
    torch.manual_seed(0)
    return NeuralFlow(spec, **kwargs).double()


@pytest.mark.parametrize("kind", ["coupling", "gru", "resnet"])
def test_states_flow_between_observations_and_jump_at_each(kind, series, series_spec):
    module = build(series_spec(), flow=kind, unit=2.0)
    x = series()
    before, after = module.states(x)
    for b, n in enumerate(x.lengths.tolist()):
        h = torch.zeros(1, 32, dtype=F64)
        for i in range(n):
            if i:
                h = module.flow(x.gaps[b : b + 1, i : i + 1] / 2.0, h)
            torch.testing.assert_close(before[b, i], h[0])
            if x.mask[b, i].any():
                h = module.cell(told(x)[b : b + 1, i], h)
            torch.testing.assert_close(after[b, i], h[0])
    torch.testing.assert_close(
        module.read(x)[0], torch.stack([after[b, n - 1] for b, n in enumerate(x.lengths)])
    )


def test_a_forecast_flows_from_the_last_observation_in_one_evaluation(series, series_spec):
    module = build(series_spec(Forecast(9, 3)), unit=2.0)
    x = series((9, 4))
    times = torch.stack((x.times[:, 1] + 0.05, x.times[:, 3], x.end + 50.0), 1)
    calls = []
    module.flow.register_forward_hook(lambda *_: calls.append(1))
    said = module.forecast(x, times)[0]
    assert len(calls) == 9  # eight gaps, and all that is asked for at once
    after = module.states(x)[1]
    for b in range(2):
        n = int(x.lengths[b])
        first = module.flow(torch.full((1, 1), 0.05 / 2, dtype=F64), after[b : b + 1, 1])
        torch.testing.assert_close(said[b, 0], module.head(first)[0])
        torch.testing.assert_close(said[b, 1], module.head(after[b, 3]))  # at an observation, behind it
        last = module.flow(torch.full((1, 1), 25.0, dtype=F64), after[b : b + 1, n - 1])
        torch.testing.assert_close(said[b, 2], module.head(last)[0])


def test_one_step_forecasts_are_part_of_training(series, series_spec, ask):
    module = build(series_spec(Forecast(9, 4)), one_step=0.5)
    x = series((9, 9))
    outcome = module.step((x, ask(x)), "train")
    mask = x.mask.clone()
    mask[:, 0] = False
    expected = 0.5 * (module.head(module.states(x)[0]) - x.values)[mask].square().mean()
    torch.testing.assert_close(outcome.terms["one_step"], expected)


def test_times_shifted_change_nothing(series, series_spec):
    module = build(series_spec())
    x = series()
    later = Series(x.times + 1000.0, x.values, x.mask, x.lengths, x.static)
    # times near 1000 resolve gaps to 1e-13
    torch.testing.assert_close(module(later), module(x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("options", [{"flow": "spline"}, {"layers": 0}, {"channels": 1}])
def test_options_out_of_their_domain_are_refused(options, series_spec):
    with pytest.raises(UsageError):
        build(series_spec(), **options)
