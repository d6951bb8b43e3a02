"""Diffusion models in continuous time: one module for every process, prediction and weighting."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from integrand.diffusion import (
    DDIM,
    VP,
    Denoiser,
    EDMPreconditioning,
    Evaluator,
    Likelihood,
    LikelihoodResult,
    NoisePrediction,
    Parametrisation,
    ProbabilityFlow,
    Process,
    SampleNoise,
    Sampler,
    ScorePrediction,
    TimeGrid,
    draw_prior,
    flows_to_prior,
)
from integrand.errors import SpecError, UsageError
from integrand.outcome import Outcome
from integrand.solvers import Dopri5, ODESolver, SolveStats
from integrand.spec import Spec

from .backbones import MLP, Backbone, TimeNet, UNet
from .base import GenerativeModule
from .dequantisation import dequantised
from .plane import Arrays, density, directions
from .sampling import Draws, Sampling, draw_samples, usual_grid
from .seeded import noise_rows
from .tested_likelihood import EXACT_UP_TO, likelihood_limit, tested_likelihood
from .times import TrainingTimes, usual_times
from .weighting import NoiseWeighting, PlainWeighting, Weighting


class DiffusionModel(GenerativeModule):
    """A network that undoes noise, trained by denoising and sampled through an SDE or ODE.

    Minimises E W(t) ‖x̂_0(x_t, t) − x_0‖² over x_t = α(t) x_0 + σ(t) ε. Whatever the network predicts,
    samplers read it as data, noise, v or score.

    Args:
        spec: What the data set publishes; the command line fills it in.
        process: How data becomes noise: `VP`, `SubVP`, `VE`, `EDM`, `CosineVP`, `DiscreteVP` (DDPM's steps).
        parametrisation: What the network predicts: `NoisePrediction`, `DataPrediction`, `VelocityPrediction`,
            `ScorePrediction` or `EDMPreconditioning`; by default the last for processes whose variance
            explodes, else noise.
        weighting: W(t); by default 1 for the network's own output, and σ² for the score's.
        times: At which times it is trained; by default as the authors of the process do.
        sampling: How it is sampled in evaluation, and by `integrand sample` unless told otherwise.
        conditional: Whether the network is told the class.
        label_dropout: Share of training images whose class is withheld, which guidance needs.
        dequantise: Whether images get uniform noise of the width of a grey level in training; without it the
            density of a good model has spikes at the grey levels, and bits/dim mean little.
        likelihood: How the test computes −log p along the probability-flow ODE; by default the exact trace in
            up to 16 dimensions, else one Hutchinson probe.
        likelihood_samples: Test samples whose likelihood is computed, 0 for none; by default all in up to 16
            dimensions, else 128; none where no flow reaches the process's end, such as `CosineVP(t_max=1)`.
        backbone: The network; an MLP for points and a U-Net for images where omitted.
        **kwargs: See `GenerativeModule`.
    """

    family = "diffusion"
    title = "Diffusion model"
    equation = "dx = f(t) x dt + g(t) dW, min E W(t) ‖D(x_t, t; θ) − x_0‖², x_t = α_t x_0 + σ_t ε"
    reference = (
        "Song et al. 2021, Score-Based Generative Modeling through SDEs; Ho et al. 2020, Denoising Diffusion "
        "Probabilistic Models; Karras et al. 2022, Elucidating the Design Space of Diffusion Models"
    )

    def __init__(
        self,
        spec: Spec,
        process: Process | None = None,
        parametrisation: Parametrisation | None = None,
        weighting: Weighting | None = None,
        times: TrainingTimes | None = None,
        sampling: Sampling | None = None,
        conditional: bool = False,
        label_dropout: float = 0.1,
        dequantise: bool = False,
        likelihood: Likelihood | None = None,
        likelihood_samples: int | None = None,
        backbone: Backbone | None = None,
        **kwargs: Any,
    ) -> None:
        if conditional and not spec.num_classes:
            raise UsageError(f"{spec.name} has no classes", "leave out model.conditional")
        if not 0 <= label_dropout < 1:
            raise UsageError(f"label_dropout must lie in [0, 1), got {label_dropout}", "0.1 is usual")
        # the base asks for it while it builds the network
        self.conditional = conditional
        image = len(spec.input_shape) == 3
        usual = UNet() if image else MLP(hidden=128, frequencies=8)
        super().__init__(spec, backbone=backbone or usual, **kwargs)
        self.process = process or VP()
        exploding = self.process.variance == "exploding"
        self.parametrisation = parametrisation or (EDMPreconditioning() if exploding else NoisePrediction())
        scored = isinstance(self.parametrisation, ScorePrediction)
        self.weighting = weighting or (NoiseWeighting() if scored else PlainWeighting())
        self.times = times or usual_times(self.process)
        self.sampling = sampling or Sampling()
        self.label_dropout = label_dropout
        self.sampling.check(self.denoiser(), self.process, self.grid)
        self.dequantise = dequantise
        exact = torch.Size(self.shape).numel() <= EXACT_UP_TO
        self.likelihood = likelihood or Likelihood(
            Dopri5(rtol=1e-4, atol=1e-4), trace="exact" if exact else "hutchinson"
        )
        self.likelihood_samples = likelihood_limit(likelihood_samples, self.shape)
        if not flows_to_prior(self.process):
            if likelihood_samples:
                raise UsageError(
                    f"{self.process.describe()} has no likelihood: no flow reaches its t_max, where α = 0",
                    "set model.likelihood_samples to 0",
                )
            self.likelihood_samples = 0
        self._made: tuple[TimeNet, Denoiser] | None = None

    def num_labels(self, spec: Spec) -> int:
        """The classes of the data where the model is conditional."""
        return spec.num_classes if self.conditional else 0

    @property
    def grid(self) -> TimeGrid:
        """The grid that sampling takes unless it names another."""
        return self.sampling.grid or usual_grid(self.process, points=len(self.shape) == 1)

    def denoiser(self, net: TimeNet | None = None) -> Denoiser:
        """The network as samplers call it; by default with the weights that evaluation uses."""
        null = self.spec.num_classes if self.conditional and self.label_dropout > 0 else None
        labelled = _Labelled(net or self.trained, self.process, self.parametrisation)
        return Denoiser(labelled, self.process, self.parametrisation, self.conditional, null)

    # ------------------------------------------------------------------ training

    def objective(self, x: Tensor, y: Tensor | None, stage: str) -> Outcome:
        """The weighted error of the prediction at one drawn time for each sample.

        Raises:
            SpecError: The model is conditional and the batch has no labels.
        """
        train = stage == "train"
        if self.dequantise:
            x = dequantised(x, self.modelled)
        condition = self._condition(y, train)
        t = self.times.draw(len(x), self.process, x.device)
        denoiser = self._learning()
        x_t, target = denoiser.target(x, torch.randn_like(x), t)
        output = denoiser(x_t, t, condition) if self.conditional else denoiser(x_t, t)
        errors = (output - target).square().flatten(1).mean(dim=1)
        weights = self.weighting.of_output(t, self.process, self.parametrisation)
        account = SolveStats(nfe_forward=1, vjps=int(train), solver=f"{self.process.describe()}, one time")
        return Outcome({"loss": (weights.to(errors.dtype) * errors).mean()}, len(x), solves=[account])

    def _learning(self) -> Denoiser:
        """The denoiser of the active network, made once for a network: it costs as much as a small step."""
        net = self.active
        if self._made is None or self._made[0] is not net:
            # in a tuple, because a module in an attribute would join the state dict
            self._made = net, self.denoiser(net)
        return self._made[1]

    def _condition(self, y: Tensor | None, drop: bool) -> Tensor | None:
        """Labels, in training some of them replaced by the one that means none."""
        if not self.conditional:
            return None
        if y is None:
            raise SpecError("a conditional model got no labels", "set model.conditional to false")
        if not drop:
            return y
        dropped = torch.rand(y.shape, device=y.device) < self.label_dropout
        return torch.where(dropped, self.spec.num_classes, y)

    # ------------------------------------------------------------------ sampling

    @torch.no_grad()
    def generate(
        self, noise: Tensor, rows: range, seed: int, sampler: Any = None, y: Tensor | None = None
    ) -> tuple[Tensor, SolveStats]:
        """Sample; see `GenerativeModule.generate`. Samples that fail on the way are NaN.

        Args:
            noise: Standard normal, shape (batch, …).
            rows: Indices of these samples in the whole set.
            seed: Seed of the whole set.
            sampler: A `Sampling`, a `Sampler`, or an `ODESolver` for the probability-flow ODE.
            y: Class of each sample, the number of classes standing for none; where a conditional model is
                given no classes, sample i has class i modulo their number.

        Raises:
            UsageError: It is none of these, or does not fit the model.
        """
        how = self._sampling(sampler)
        grid = how.grid or self.grid
        if y is None and self.conditional:
            y = torch.tensor([i % self.spec.num_classes for i in rows], device=noise.device)
        return draw_samples(how, self.denoiser(), self.process, grid, noise, rows, seed, y)

    def _sampling(self, sampler: Any) -> Sampling:
        own = self.sampling
        if sampler is None:
            return own
        if isinstance(sampler, Sampling):
            return sampler
        if isinstance(sampler, ODESolver):
            sampler = ProbabilityFlow(sampler)
        if not isinstance(sampler, Sampler):
            raise UsageError(
                f"{type(sampler).__name__} cannot sample from {type(self).__name__}",
                "take a diffusion sampler such as DDIM, or an ODE solver for the probability flow",
            )
        return Sampling(sampler, own.grid, own.nfe, own.guidance, own.constraint)

    @torch.no_grad()
    def paths(self, noise: Tensor, steps: int = 32) -> tuple[Tensor, Tensor]:
        """Times (n_t,) and states (n_t, batch, …) of the probability flow by DDIM, from noise to samples.

        States are divided by √(α² + σ²), so that those of exploding variance fit beside the others.
        """
        draws = Draws(noise, SampleNoise(0, noise.shape, 0, noise.dtype, noise.device))
        x_T = draw_prior(self.process, self.grid, draws)
        found = DDIM().sample(self.denoiser(), self.process, self.grid, x_T, steps=steps, trajectory=True)
        assert found.trajectory is not None
        nodes = self.process.nodes(found.times)
        scale = torch.tensor([math.hypot(node.alpha, node.sigma) for node in nodes]).to(found.trajectory)
        return found.times, found.trajectory / scale.view(-1, *[1] * noise.ndim)

    @torch.no_grad()
    def pictures(self, stage: str) -> dict[str, npt.NDArray[np.floating]]:
        """For points also paths, and in the plane density and score; see `GenerativeModule.pictures`."""
        found = super().pictures(stage)
        if not found or len(self.shape) != 1 or (self.conditional and not self.label_dropout):
            return found
        mode = self.trained.training
        self.trained.eval()
        try:
            noise = noise_rows(1, 0, 64, self.shape).to(self.device, self.sample_dtype)
            found["paths"] = self.paths(noise)[1].float().cpu().numpy()
            if self.shape == (2,):
                if flows_to_prior(self.process):
                    found |= density(self._log_prob, found["data"], side=61)
                found |= self._directions(found["data"])
        finally:
            self.trained.train(mode)
        return found

    def _log_prob(self, x: Tensor) -> Tensor:
        parts = torch.split(x.to(self.device, self.sample_dtype), self.sample_batch)
        return torch.cat([self.log_likelihood(part).log_prob for part in parts])

    def _directions(self, data: npt.NDArray[np.floating]) -> Arrays:
        """The score where the noise is a quarter of the data's deviation: σ²∇log p_t/α = x̂_0 − x_t/α."""
        node = self.process.node_at(-math.log(0.25 * float(data.std(axis=0).mean())))
        evaluate = Evaluator(self.denoiser())

        def denoised(x: Tensor) -> Tensor:
            return evaluate(node.alpha * x.to(self.device, self.sample_dtype), node).data()

        return directions(denoised, data, node.sigma / node.alpha)

    def describe_solver(self) -> tuple[str, str]:
        """The sampler; nothing is differentiated through it."""
        return self.sampling.describe(), ""

    # ------------------------------------------------------------------ likelihood

    def forward(self, x: Tensor) -> Tensor:
        """Log p(x) in nats, shape (batch,)."""
        return self.log_likelihood(x).log_prob

    def log_likelihood(self, x: Tensor, seed: int = 0, y: Tensor | None = None) -> LikelihoodResult:
        """Log p of data by the probability-flow ODE and the weights that evaluation uses.

        Args:
            x: Data, shape (batch, …); images already dequantised.
            seed: Seed of the trace's probes.
            y: Class of each sample; without it a conditional model's density of all classes.
        """
        noise = SampleNoise(seed, x.shape, dtype=x.dtype, device=x.device)
        mode = self.trained.training
        self.trained.eval()
        try:
            return self.likelihood.log_prob(self.denoiser(), self.process, x, noise, y)
        finally:
            self.trained.train(mode)

    def extra_scores(self, data: Tensor, samples: Tensor, stage: str) -> dict[str, float]:
        """In the test the likelihood of the first test samples; see `tested_likelihood`."""
        scores = super().extra_scores(data, samples, stage)
        if stage != "test" or (self.conditional and not self.label_dropout):
            return scores

        def log_prob(x: Tensor, seed: int) -> tuple[Tensor, SolveStats]:
            found = self.log_likelihood(x, seed)
            return found.log_prob, found.stats

        return scores | tested_likelihood(self, data, log_prob)


class _Labelled(nn.Module):
    """A network of t from 0 to 1 behind the label that a process or parametrisation gives a time.

    Args:
        net: The network f(t, x, y).
        process: Whose labels.
        parametrisation: Which may have labels of its own.
    """

    def __init__(self, net: TimeNet, process: Process, parametrisation: Parametrisation) -> None:
        super().__init__()
        self.net = net
        ends = torch.tensor([process.t_min, process.t_max], dtype=torch.float64)
        self.low, self.high = parametrisation.label(process, ends).tolist()

    def forward(self, x: Tensor, label: Tensor, condition: Tensor | None = None) -> Tensor:
        """Shape of x; label and condition of shape (batch,)."""
        value: Tensor = self.net((label - self.low) / (self.high - self.low), x, condition)
        return value
