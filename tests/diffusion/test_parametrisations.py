"""Predictions are interconvertible, and targets are what they convert to."""

import itertools
import math

import pytest
import torch
from diffusion_cases import F64, normal
from torch import nn

from integrand.diffusion import (
    EDM,
    VE,
    VP,
    Clip,
    DataPrediction,
    Denoiser,
    DynamicThreshold,
    EDMPreconditioning,
    FlowPrediction,
    NoisePrediction,
    Prediction,
    ScorePrediction,
    SubVP,
    VelocityPrediction,
    convert,
)

ALL = [NoisePrediction(), DataPrediction(), VelocityPrediction(), ScorePrediction(), EDMPreconditioning(0.5), FlowPrediction()]  # fmt: skip
PAIRS = list(itertools.permutations(ALL, 2))


@pytest.mark.parametrize("process", [VP(), SubVP(), VE(), EDM()], ids=lambda p: p.describe())
@pytest.mark.parametrize(("a", "b"), PAIRS, ids=lambda p: p.name)
def test_round_trips(a, b, process):
    """a → b → a, and a's target → b's target, at high and low noise."""
    x0, noise, output = normal(4, 3), normal(4, 3, seed=1), normal(4, 3, seed=2)
    for fraction in (0.02, 0.3, 0.9):
        node = process.node(fraction * process.t_max)
        alpha, sigma = torch.tensor(node.alpha, dtype=F64), torch.tensor(node.sigma, dtype=F64)
        x = alpha * x0 + sigma * noise
        there = convert(output, x, a, b, node.alpha, node.sigma)
        back = convert(there, x, b, a, node.alpha, node.sigma)
        # x is divided by the smaller and multiplied by the larger of α and σ on the way
        tolerance = 1e-13 * max(node.rho, 1 / node.rho) ** 2 * max(1.0, float(there.abs().max()))
        torch.testing.assert_close(back, output, rtol=0, atol=tolerance)
        converted = convert(a.target(x0, noise, alpha, sigma), x, a, b, node.alpha, node.sigma)
        torch.testing.assert_close(converted, b.target(x0, noise, alpha, sigma), rtol=1e-9, atol=tolerance)


def test_targets_are_the_definitions():
    x0, noise = normal(4, 3), normal(4, 3, seed=1)
    alpha, sigma = torch.tensor(0.6, dtype=F64), torch.tensor(0.8, dtype=F64)
    targets = [p.target(x0, noise, alpha, sigma) for p in ALL]
    for found, expected in zip(targets, [noise, x0, 0.6 * noise - 0.8 * x0, -noise / 0.8], strict=False):
        torch.testing.assert_close(found, expected)
    # F: (x_0 − c_skip y)/c_out at y = x/α, ρ = σ/α, as Karras et al. write it
    y, rho, data = x0 + noise * 0.8 / 0.6, 0.8 / 0.6, 0.5
    skip, out = data**2 / (rho**2 + data**2), rho * data / math.sqrt(rho**2 + data**2)
    torch.testing.assert_close(targets[4], (x0 - skip * y) / out)


def test_edm_keeps_unit_variance():
    """c_in and c_out are made so that input and target have variance 1 for data of variance σ_data²."""
    parametrisation = EDMPreconditioning(0.5)
    x0, noise = 0.5 * normal(200_000), normal(200_000, seed=1)
    for level in (0.05, 0.5, 5.0):
        sigma, alpha = torch.tensor(level, dtype=F64), torch.tensor(1.0, dtype=F64)
        scaled = parametrisation.input_scale(alpha, sigma) * (x0 + sigma * noise)
        target = parametrisation.target(x0, noise, alpha, sigma)
        # Monte-Carlo error of a variance: √(2/N) = 0.003
        assert float(scaled.var()) == pytest.approx(1.0, abs=0.015)
        assert float(target.var()) == pytest.approx(1.0, abs=0.015)


def test_a_prediction_reads_every_way():
    process, x, output = VP(), normal(4, 3), normal(4, 3, seed=1)
    node = process.node(0.4)
    prediction = Prediction(output, x, VelocityPrediction(), node)
    assert prediction.v() is output
    torch.testing.assert_close(node.alpha * prediction.data() + node.sigma * prediction.noise(), x)
    torch.testing.assert_close(prediction.score(), -prediction.noise() / node.sigma)


def test_noise_free_data_can_be_read_at_zero_noise():
    node = VP().node(0.0)
    x = normal(2, 2)
    for parametrisation in (NoisePrediction(), VelocityPrediction(), ScorePrediction(), EDMPreconditioning()):
        assert torch.equal(Prediction(normal(2, 2, seed=1), x, parametrisation, node).data(), x)


class Recorder(nn.Module):
    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, *args):
        self.seen.append(args)
        return args[0]


def test_denoiser_feeds_its_network():
    network, process = Recorder(), EDM()
    denoiser = Denoiser(network, process, EDMPreconditioning(0.5))
    x, t = normal(3, 1, 4, 4), torch.tensor([0.5, 1.0, 2.0], dtype=F64)
    denoiser(x, t)
    scaled, label = network.seen[0]
    torch.testing.assert_close(scaled, x / (t.square() + 0.25).sqrt().view(3, 1, 1, 1))
    torch.testing.assert_close(label, 0.25 * t.log())
    conditional = Denoiser(network, process, conditional=True, null=10)
    labels = torch.tensor([1, 2, 3])
    conditional(x.float(), t.float(), labels)
    scaled, label, condition = network.seen[1]
    assert torch.equal(scaled, x.float())
    assert label.dtype == torch.float32
    assert condition is labels


def test_denoiser_target_is_the_noisy_state_and_its_prediction():
    process = VP()
    x0, noise, t = normal(3, 2), normal(3, 2, seed=1), torch.tensor([0.1, 0.5, 0.9], dtype=F64)
    for parametrisation in ALL:
        x, target = Denoiser(nn.Identity(), process, parametrisation).target(x0, noise, t)
        for row, time in enumerate(t.tolist()):
            node = process.node(time)
            data = Prediction(target[row], x[row], parametrisation, node).data()
            torch.testing.assert_close(data, x0[row], rtol=1e-9, atol=1e-9)


def test_float32_networks_get_accurate_levels():
    """1 − α² of VP at t = 10⁻³ is 1e-4: float32 would keep three digits of σ."""
    denoiser = Denoiser(nn.Identity(), VP())
    t = torch.tensor([1e-3])
    _, sigma = denoiser.levels(torch.zeros(1, 1), t)
    exact = float(VP().sigma(t.double()))
    assert float(sigma) == pytest.approx(exact, rel=2e-7)


def test_constraints():
    x0 = torch.tensor([[-3.0, 0.5, 0.9, 1.5], [0.1, -0.2, 0.3, 0.4]], dtype=F64)
    assert Clip(1.0)(x0).tolist() == [[-1.0, 0.5, 0.9, 1.0], [0.1, -0.2, 0.3, 0.4]]
    scaled = DynamicThreshold(1.0)(x0)
    torch.testing.assert_close(scaled, torch.stack((x0[0] / 3.0, x0[1])))
    assert float(DynamicThreshold(1.0, maximum=2.0)(x0).abs().max()) == 1.0
