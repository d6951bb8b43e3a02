"""Pictures of models of points: the arrays against exact densities and scores, and what is drawn of them."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from integrand.diffusion import EDM, VE, VP, ExactMixture, SubVP
from integrand.figures import generated_figures
from integrand.modules.generative.cnf import CNF
from integrand.modules.generative.diffusion import DiffusionModel
from integrand.modules.generative.plane import density
from integrand.spec import Classes, Density, VectorSpec

POINTS = VectorSpec("made-up", Density(), 2)
STD = 0.5


def gaussian(process):
    """The exact denoiser of N(0, STD²)."""
    wide = {"dtype": torch.float64}
    one = torch.ones(1, **wide)
    return ExactMixture(process, torch.zeros(1, 2, **wide), STD * one, one)


def shown(module, n=200):
    """A module that has seen a batch of that Gaussian."""
    module._seen = [STD * torch.randn(n, 2, generator=torch.Generator().manual_seed(0))]
    return module


@pytest.mark.parametrize("process", [VP(), SubVP(), VE(), EDM()], ids=lambda p: type(p).__name__)
def test_arrays_of_a_diffusion_model_are_those_of_its_law(process, monkeypatch):
    torch.manual_seed(0)
    module = shown(DiffusionModel(POINTS, process=process).double())
    monkeypatch.setattr(module, "denoiser", lambda net=None: gaussian(process))
    found = module.pictures("test")
    true = torch.distributions.Normal(0.0, STD)
    reach = float(found["extent"][1])
    line = torch.linspace(-reach, reach, 61)
    exact = true.log_prob(line)[:, None] + true.log_prob(line)[None, :]
    # the solver's tolerance of 1e-4 over some fifty steps; the prior of VE and EDM is wider than the data's law
    # at t_max by STD²/(2 · 50²), VP's prior misses e^{-5} of the data
    np.testing.assert_allclose(found["log_density"], exact.numpy(), atol=0.02)
    cell = (2 * reach / 60) ** 2
    inside = float(2 * true.cdf(torch.tensor(reach)) - 1) ** 2
    assert np.exp(found["log_density"]).sum() * cell == pytest.approx(inside, abs=0.02)
    # E[x_0 | x_t] = x_t/α · STD²/(STD² + level²): arrows point to it
    level = float(found["score_level"])
    shrink = -(level**2) / (STD**2 + level**2)
    np.testing.assert_allclose(found["score"], shrink * found["score_points"], atol=1e-6)
    assert level == pytest.approx(0.25 * found["data"].std(axis=0).mean(), rel=1e-3)
    # all sampled by DDIM: noise of unit scale, and straight lines through the centre of this Gaussian
    paths = found["paths"]
    assert paths.shape[1:] == (64, 2)
    assert 0.8 < paths[0].std() < 1.2
    assert 0.35 < paths[-1].std() < 0.65
    turn = paths[0, :, 0] * paths[-1, :, 1] - paths[0, :, 1] * paths[-1, :, 0]
    np.testing.assert_allclose(turn, 0, atol=1e-6)


def test_a_model_that_cannot_do_without_classes_is_not_drawn_as_a_density():
    spec = VectorSpec("classes", Classes(3), 2)
    module = shown(DiffusionModel(spec, conditional=True, label_dropout=0.0))
    assert set(module.pictures("val")) == {"data", "samples"}


def test_pictures_leave_the_mode_as_it_was():
    module = shown(CNF(POINTS), n=20).train()
    module.pictures("val")
    assert module.training


def test_the_grid_of_a_density_is_rows_by_the_second_coordinate():
    found = density(lambda x: x[:, 0] + 10 * x[:, 1], np.array([[1.0, -2.0]]), side=3)
    reach = 1.15 * 2
    assert found["extent"].tolist() == pytest.approx([-reach, reach, -reach, reach])
    expected = [[c + 10 * r for c in (-reach, 0, reach)] for r in (-reach, 0, reach)]
    np.testing.assert_allclose(found["log_density"], expected, atol=1e-5)


def arrays(**more):
    rng = np.random.default_rng(0)
    return {"data": rng.normal(size=(50, 2)), "samples": rng.normal(size=(40, 2)), **more}


def test_every_array_becomes_a_described_picture():
    line = np.linspace(-2, 2, 41)
    side = np.linspace(-2, 2, 5)
    points = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    given = arrays(
        paths=np.linspace(0, 1, 3)[:, None, None] * np.ones((3, 7, 2)),
        log_density=-0.5 * (line[:, None] ** 2 + line[None, :] ** 2) - math.log(2 * math.pi),
        extent=np.array([-2, 2, -2, 2]),
        score=-points,
        score_points=points,
        score_level=np.array(0.3),
    )
    made = {p.name: p for p in generated_figures(given, "test")}
    assert set(made) == {"samples_test", "density_test", "score_test", "paths_test"}
    assert "50 points of the test data beside 40 samples" in made["samples_test"].description
    # Φ(2) − Φ(−2), squared: 0.911, and the midpoint rule adds the rim
    mass = float(made["density_test"].description.split(": ")[1].split(" ")[0])
    assert mass == pytest.approx(0.911, abs=0.02)
    assert "noise 0.3 (σ/α)" in made["score_test"].description
    assert "together 1.00 times as long" in made["paths_test"].description


def test_a_field_that_is_zero_everywhere_is_drawn(tmp_path):
    points = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    given = arrays(score=0 * points, score_points=points, score_level=np.array(1.0))
    drawn = [p for p in generated_figures(given, "val") if p.name == "score_val"]
    (tmp_path / "score.png").write_bytes(drawn[0].png)
    with Image.open(tmp_path / "score.png") as image:
        assert min(image.size) > 200
