"""Likelihoods of images whose pixels are grey levels."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from integrand.spec import ImageSpec, Spec


def bin_widths(spec: Spec) -> tuple[float, ...]:
    """Distance of neighbouring grey levels of each channel; empty where the data is continuous."""
    return spec.bin_widths if isinstance(spec, ImageSpec) else ()


def dequantised(x: Tensor, spec: Spec, generator: torch.Generator | None = None) -> Tensor:
    """The data with uniform noise of the width of a grey level; x itself where the data is continuous."""
    if not bin_widths(spec):
        return x
    device = x.device if generator is None else generator.device
    noise = torch.rand(x.shape, generator=generator, dtype=x.dtype, device=device)
    return x + x.new_tensor(bin_widths(spec)).view(-1, 1, 1) * noise.to(x.device)


def likelihood_names(nll: Tensor, spec: Spec, latent: bool) -> dict[str, Tensor]:
    """A likelihood by what it is: `nll` in nats and `bpd`, or `latent_nll`, which says nothing of the data.

    Args:
        nll: −log p in nats.
        spec: What is modelled.
        latent: Whether that is latents.
    """
    return {"latent_nll": nll} if latent else {"nll": nll, "bpd": bits_per_dim(nll, spec)}


def bits_per_dim(nll: Tensor, spec: Spec) -> Tensor:
    """Bits per dimension from −log p in nats; of the grey levels themselves for dequantised images.

    An upper bound of what the discrete model needs (Theis et al. 2016). Shape of nll.
    """
    pixels = math.prod(spec.input_shape[1:])
    cells = sum(math.log(width) * pixels for width in bin_widths(spec))
    return (nll - cells) / (math.prod(spec.input_shape) * math.log(2))
