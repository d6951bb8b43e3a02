"""Draws of families of series: their law, their noise, and what they cost."""

import pytest
import torch

from integrand.errors import SpecError
from integrand.modules import GeometricSDE, GRUODEBayes, LatentODE, LatentSDE, NeuralCDE
from integrand.series import Series
from integrand.solvers import RK4
from integrand.spec import Classes, Forecast, SeriesSpec

F64 = torch.float64
AHEAD = SeriesSpec("made-up", Forecast(6, 3), channels=2, length=6)
CLASSES = SeriesSpec("made-up", Classes(3), channels=2, length=6)
FORECASTERS = {
    LatentODE: {"channels": 3, "solver": RK4(num_steps=1)},
    LatentSDE: {"channels": 3, "context": 4, "hidden": 4},
    GRUODEBayes: {"channels": 4},
}


def series():
    times = torch.linspace(0, 1, 6, dtype=F64).expand(4, -1)
    values = torch.randn(4, 6, 2, generator=torch.Generator().manual_seed(0), dtype=F64)
    mask = torch.ones_like(values, dtype=torch.bool)
    return Series(times, values, mask, torch.full((4,), 6), values.new_zeros(4, 0))


TIMES = torch.tensor([[1.2, 1.4, 1.6]], dtype=F64).expand(4, -1)


def build(family, spec=AHEAD, **options):
    torch.manual_seed(0)
    return family(spec, **options).double().eval()


@pytest.mark.parametrize("family", FORECASTERS)
@torch.no_grad()
def test_draws_follow_from_the_generator_and_pay_for_each(family):
    model, x = build(family, **FORECASTERS[family]), series()
    assert model.components is None
    torch.manual_seed(1)
    said, _ = model.draws(x, 5, TIMES)
    assert said.shape == (5, 4, 3, 2)
    assert not torch.equal(said[0], said[1])
    torch.manual_seed(1)
    assert torch.equal(said, model.draws(x, 5, TIMES)[0])
    assert not torch.equal(said, model.draws(x, 5, TIMES)[0])
    one, ten = (sum(s.nfe_forward for s in model.draws(x, n, TIMES)[1]) for n in (1, 10))
    # a closed form costs one reading of the series, however many draws are made of it
    assert ten == one if family is GRUODEBayes else ten > one
    with pytest.raises(SpecError, match="give the times to forecast"):
        model.draws(x, 5)


@torch.no_grad()
def test_draws_hold_the_noise_of_observations():
    """With a posterior that is a point the spread of draws is that noise alone."""
    model = build(LatentODE, **FORECASTERS[LatentODE])
    model.log_noise.fill_(-1.0)
    found = model.encoder(series())
    model.encoder.forward = lambda x: type(found)(found.mean, 0 * found.std, found.solves)
    n = 4000
    said, _ = model.draws(series(), n, TIMES)
    expected = model.noise.expand_as(said[0])
    # five standard errors of a deviation, σ/√(2n), over 24 of them
    torch.testing.assert_close(said.std(0), expected, rtol=5 / (2 * n) ** 0.5, atol=0)
    torch.testing.assert_close(said.mean(0), model(series(), TIMES), rtol=0, atol=5 * 0.38 / n**0.5)


@torch.no_grad()
def test_the_normal_law_of_gru_ode_bayes_is_drawn():
    model, x, n = build(GRUODEBayes, channels=4), series(), 4000
    said, _ = model.draws(x, n, TIMES)
    mean = model(x, TIMES)
    spread = said.std(0)
    assert ((said.mean(0) - mean).abs() < 5 * spread / n**0.5).all()
    first, second = (model.draws(x, n, TIMES)[0].std(0) for _ in range(2))
    torch.testing.assert_close(first, second, rtol=10 / (2 * n) ** 0.5, atol=0)


@torch.no_grad()
def test_paths_of_a_stable_equation_are_averaged_by_its_answer():
    model, x = build(GeometricSDE, CLASSES, channels=4, hidden=4, samples=64), series()
    torch.manual_seed(2)
    said, solves = model.draws(x, 2000)
    assert said.shape == (2000, 4, 3)
    assert len(solves) == 2000
    spread = said.std(0)
    assert (spread > 0).all()
    # the answer's own 64 paths add their error
    assert ((said.mean(0) - model(x)).abs() < 5 * spread * (1 / 64 + 1 / 2000) ** 0.5).all()
    assert build(GeometricSDE, CLASSES, channels=4, hidden=4).components == 1


@torch.no_grad()
def test_classes_are_drawn_by_the_latent_start_and_an_equation_has_one_answer():
    model = build(LatentODE, CLASSES, channels=3)
    said, _ = model.draws(series(), 3)
    assert said.shape == (3, 4, 3)
    assert not torch.equal(said[0], said[1])
    plain = build(NeuralCDE, CLASSES, channels=3, hidden=4)
    torch.testing.assert_close(plain.draws(series(), 3)[0][0], plain(series()))
