"""Samplers, grids and processes from YAML, by short class_path as solvers are."""

import inspect
from pathlib import Path

import pytest
import torch
from diffusion_cases import normal, zero_mean_mixture
from jsonargparse import ArgumentParser

import integrand.diffusion
from integrand.diffusion import (
    VP,
    Parametrisation,
    Process,
    SampleNoise,
    Sampler,
    TimeGrid,
)
from integrand.registry import subclasses

CASES = [
    ("DDIM", {"eta": 0.5}, "ddim eta=0.5"),
    ("UniPC", {"p": 3, "variant": "bh1"}, "unipc-3 bh1"),
    ("DPMSolverPPMultistep", {"order": 3}, "dpm-solver++ 3M"),
    ("DPMSolverPPMultistep", {"order": 3, "curvature": "exact"}, "dpm-solver++ 3M exact"),
    ("PredictorCorrector", {"predictor": {"class_path": "integrand.diffusion.Ancestral"}}, "pc ddpm posterior snr=0.16 corrections=1"),
    ("ProbabilityFlow", {"solver": {"class_path": "integrand.solvers.Midpoint", "init_args": {"num_steps": 1}}}, "flow midpoint num_steps=1"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options", "words"), CASES, ids=[c[0] for c in CASES])
def test_from_yaml(name, options, words):
    parser = ArgumentParser()
    parser.add_argument("--sampler", type=Sampler)
    parser.add_argument("--grid", type=TimeGrid)
    parser.add_argument("--process", type=Process)
    parser.add_argument("--parametrisation", type=Parametrisation)
    chosen = parser.instantiate(
        parser.parse_object(
            {
                "sampler": {"class_path": f"integrand.diffusion.{name}", "init_args": options},
                "grid": {"class_path": "integrand.diffusion.KarrasGrid", "init_args": {"to_zero": True}},
                "process": {"class_path": "integrand.diffusion.VP", "init_args": {"beta_max": 15.0}},
                "parametrisation": {"class_path": "integrand.diffusion.EDMPreconditioning"},
            }
        )
    )
    assert chosen.sampler.describe() == words
    model = zero_mean_mixture(chosen.process, chosen.parametrisation)
    noise = SampleNoise(0, (3, 2))
    result = chosen.sampler.sample(model, chosen.process, chosen.grid, normal(3, 2), noise, steps=8)
    assert result.failed is None


def test_every_public_name_exists():
    for name in integrand.diffusion.__all__:
        assert hasattr(integrand.diffusion, name)


def test_samplers_take_any_shape():
    process = VP()
    x = torch.randn(2, 1, 6, 6)

    class Zero:
        parametrisation, conditional = integrand.diffusion.DataPrediction(), False

        def __call__(self, x, t):
            return torch.zeros_like(x)

    for sampler in (integrand.diffusion.PredictorCorrector(), integrand.diffusion.Heun(churn=1.0)):
        noise = SampleNoise(0, x.shape)
        out = sampler.sample(Zero(), process, integrand.diffusion.UniformGrid(), x, noise, steps=4).x
        assert out.shape == x.shape


def test_the_page_names_every_sampler_process_and_grid():
    page = (Path(__file__).resolve().parents[2] / "docs" / "samplers.md").read_text(encoding="utf-8")
    for base in (Sampler, Process, TimeGrid):
        for cls in subclasses(base):
            if cls.__module__.startswith("integrand.diffusion") and not inspect.isabstract(cls):
                assert f"`{cls.__name__}" in page, cls.__name__
