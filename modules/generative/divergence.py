"""The trace of a field's Jacobian, in the pass that evaluates the field."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from integrand.errors import UsageError

from .backbones import TimeNet

Distribution = Literal["rademacher", "gaussian"]


class Evaluated(NamedTuple):
    """A field at one time on one batch.

    Args:
        f: Value, shape of x.
        trace: tr ∂f/∂x or its estimate, shape (batch,).
        jacobian: ‖∂f/∂x‖²_F or its estimate, shape (batch,).
    """

    f: Tensor
    trace: Tensor
    jacobian: Tensor


class Trace(ABC):
    """How the trace is had: forward-mode products with some directions v, all in one pass."""

    @abstractmethod
    def directions(self, x: Tensor) -> Tensor:
        """The directions of one solve, shape (k, *x.shape); a random one stays fixed for the whole solve.

        A direction drawn anew at each evaluation would make the field discontinuous in time, and an adaptive
        solver would reduce its step without end.
        """

    @abstractmethod
    def evaluate(self, net: TimeNet, t: Tensor, x: Tensor, v: Tensor) -> Evaluated:
        """The field and its trace at (t, x) with the directions of this solve."""


class ExactTrace(Trace):
    """tr J = Σ_i e_iᵀ J e_i: one direction for each dimension, all through one batched pass."""

    def directions(self, x: Tensor) -> Tensor:
        """The basis; see `Trace.directions`."""
        d = x[0].numel()
        return torch.eye(d, dtype=x.dtype, device=x.device).view(d, 1, *x.shape[1:]).expand(d, *x.shape)

    def evaluate(self, net: TimeNet, t: Tensor, x: Tensor, v: Tensor) -> Evaluated:
        """See `Trace.evaluate`."""
        f, products = net.linearise(t, x, v)
        columns = products.flatten(2)
        return Evaluated(f, torch.einsum("ibi->b", columns), columns.square().sum(dim=(0, 2)))


class HutchinsonTrace(Trace):
    """tr J ≈ εᵀJε, averaged over a few ε with E εεᵀ = I (Hutchinson 1990; Grathwohl et al. 2019).

    Args:
        distribution: Of the entries of ε. Random signs have the least variance.
        probes: Number of ε.

    Raises:
        UsageError: An unknown distribution, or no probe.
    """

    def __init__(self, distribution: Distribution = "rademacher", probes: int = 1) -> None:
        if distribution not in ("rademacher", "gaussian"):
            raise UsageError(f"no distribution {distribution!r} of probes", "rademacher or gaussian")
        if probes < 1:
            raise UsageError(f"probes must be at least 1, got {probes}", "set model.trace.probes")
        self.distribution, self.probes = distribution, probes

    def directions(self, x: Tensor) -> Tensor:
        """Fresh ε from the global generator; see `Trace.directions`."""
        v = torch.empty(self.probes, *x.shape, dtype=x.dtype, device=x.device)
        return v.normal_() if self.distribution == "gaussian" else v.bernoulli_(0.5).mul_(2).sub_(1)

    def evaluate(self, net: TimeNet, t: Tensor, x: Tensor, v: Tensor) -> Evaluated:
        """See `Trace.evaluate`."""
        f, products = net.linearise(t, x, v)
        across = products.flatten(2)
        trace = (across * v.flatten(2)).sum(dim=2)
        squares = across.square().sum(dim=2)
        return Evaluated(f, trace.mean(dim=0), squares.mean(dim=0))
