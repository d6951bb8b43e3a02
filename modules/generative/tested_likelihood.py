"""The likelihood of test data, of as many as it is worth solving for."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from integrand.errors import UsageError
from integrand.solvers import SolveStats

from .base import GenerativeModule
from .dequantisation import dequantised, likelihood_names

EXACT_UP_TO = 16
"""Dimensions up to which likelihoods take the exact trace, of all test points, unless told otherwise."""


def likelihood_limit(samples: int | None, shape: tuple[int, ...]) -> int | None:
    """Test points whose likelihood is computed, None for all: by default all in few dimensions, else 128.

    Args:
        samples: What was asked for, null for the default.
        shape: Of what is modelled.

    Raises:
        UsageError: Fewer than none.
    """
    if samples is not None and samples < 0:
        raise UsageError(
            f"likelihood_samples must be 0 or more, got {samples}", "set model.likelihood_samples to 128"
        )
    return 128 if samples is None and math.prod(shape) > EXACT_UP_TO else samples


def tested_likelihood(
    module: GenerativeModule, data: Tensor, log_prob: Callable[[Tensor, int], tuple[Tensor, SolveStats]]
) -> dict[str, float]:
    """Mean −log p of the first `likelihood_samples` points: `nll` in nats, `bpd` in bits per dimension.

    Of latents it is `latent_nll` alone. Images are dequantised first: each grey level becomes uniform over
    its width, and `bpd` counts bits of the levels themselves, an upper bound (Theis et al. 2016).
    `nll_samples` says of how many, `nll_nfe` the evaluations of the slowest batch, and `nll_floor` is the
    mean −log p of the true density on the same points, where it is known.

    Args:
        module: Whose test it is.
        data: Every data point, not encoded.
        log_prob: Log p of a batch in nats, and its account; random probes follow from the number.
    """
    data = data[: module.likelihood_samples]
    if not len(data):
        return {}
    generator = torch.Generator().manual_seed(0)
    parts: list[Tensor] = []
    nfe = 0
    for seed, part in enumerate(torch.split(module.encoded(data), module.sample_batch)):
        found, stats = log_prob(dequantised(part, module.modelled, generator), seed)
        parts.append(found)
        nfe = max(nfe, stats.nfe_forward)
    nll = -torch.cat(parts).double().mean()
    named = likelihood_names(nll, module.modelled, module.encoder is not None)
    scores = {name: float(value) for name, value in named.items()}
    scores |= {"nll_samples": float(len(data)), "nll_nfe": float(nfe)}
    return scores | module.entropy_scores(data)
