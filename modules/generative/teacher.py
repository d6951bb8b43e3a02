"""A trained diffusion model as the teacher of another family."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from integrand.diffusion import DataPrediction, Denoising, Process, convert
from integrand.errors import UsageError

from ..from_checkpoint import network
from .diffusion import DiffusionModel
from .encoders.base import Encoder, digest_of_encoder, require_same_encoder


def diffusion_teacher(
    path: str, shape: tuple[int, ...], trust: bool = False, encoder: Encoder | None = None
) -> DiffusionModel:
    """The diffusion model of a checkpoint, frozen, by the rules of `load_from_checkpoint`.

    Args:
        path: A .ckpt file that a fit has left.
        shape: Shape of a sample of the pupil's data.
        trust: Whether its configuration may name classes that are not installed.
        encoder: Of the pupil.

    Raises:
        UsageError: It holds no unconditional diffusion model of such samples, or one of other latents.
    """
    found: Any = network(DiffusionModel, path, {}, trust=trust, strict=True)[0]
    model: DiffusionModel = found
    require_same_encoder(digest_of_encoder(model.encoder), digest_of_encoder(encoder), path)
    if model.shape != shape:
        raise UsageError(
            f"{path} models samples of shape {model.shape}, not {shape}", "train both on the same data set"
        )
    if model.conditional:
        raise UsageError(f"{path} is conditional", "a teacher has model.conditional false")
    return model.requires_grad_(False).eval()


def check_levels(teacher: DiffusionModel, sigma_min: float, sigma_max: float) -> None:
    """Refuse noise levels σ/α at which a teacher was not trained.

    Raises:
        UsageError: They reach beyond its process.
    """
    process = teacher.process
    low, high = process.node(process.t_min).rho, process.node(process.t_max).rho
    if sigma_min < low * (1 - 1e-6) or sigma_max > high * (1 + 1e-6):
        raise UsageError(
            f"the teacher knows noise from {low:.4g} to {high:.4g}, not from {sigma_min:g} to {sigma_max:g}",
            "set sigma_min and sigma_max of model.levels within them",
        )


def denoised(teacher: Denoising, process: Process, x: Tensor, sigma: Tensor) -> Tensor:
    """E[x_0 | x_0 + σε = x] by a denoiser of any process: its state is αx where σ_t/α_t = σ.

    Args:
        teacher: The denoiser.
        process: Its process.
        x: Shape (batch, …).
        sigma: Noise levels, shape (batch,).
    """
    wide = sigma if sigma.device.type == "mps" else sigma.double()
    t = process.time(-wide.log()).clamp(process.t_min, process.t_max)
    alpha, level = (part.to(x.dtype).view(-1, *[1] * (x.ndim - 1)) for part in process.levels(t))
    y = alpha * x
    return convert(teacher(y, t), y, teacher.parametrisation, DataPrediction(), alpha, level)


@torch.no_grad()
def heun_step(teacher: Denoising, process: Process, x: Tensor, high: Tensor, low: Tensor) -> Tensor:
    """One step of dx/dσ = (x − D(x, σ))/σ from `high` to `low` by Heun's method; order 2, two evaluations.

    Args:
        teacher: The denoiser.
        process: Its process.
        x: States at `high`, shape (batch, …).
        high: Noise levels, shape (batch,).
        low: Lower ones, shape (batch,).
    """
    shape = (-1, *[1] * (x.ndim - 1))
    a, b = high.view(shape), low.view(shape)
    slope = (x - denoised(teacher, process, x, high)) / a
    end = x + (b - a) * slope
    return x + (b - a) * (slope + (end - denoised(teacher, process, end, low)) / b) / 2


def logarithm(sigma: Tensor, sigma_min: float, sigma_max: float) -> Tensor:
    """The place of ln σ between its ends, 0 to 1."""
    return (sigma / sigma_min).log() / math.log(sigma_max / sigma_min)
