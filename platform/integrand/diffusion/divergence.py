"""The trace of a field's Jacobian, in the pass that evaluates the field."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from integrand.errors import UsageError

from .errors import IncompatibleError
from .random_numbers import Noise, Stream

Distribution = Literal["rademacher", "gaussian"]


class Linearised(Protocol):
    """A field f(t, x) that knows its products with the Jacobian."""

    def linearise(self, t: Tensor, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """f(t, x), shape (batch, …), and (∂f/∂x) v_i for directions v, shape (k, batch, …)."""


def linearise(f: Callable[[Tensor], Tensor], x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """f(x) and its products with the Jacobian in one pass of forward mode, whatever f is made of.

    Args:
        f: Keeps the shape of x; each sample's value depends on that sample alone.
        x: State, shape (batch, …).
        v: Directions, shape (k, batch, …).

    Returns:
        Shapes (batch, …) and (k, batch, …).

    Raises:
        IncompatibleError: An operation of f has no forward-mode derivative.
    """
    try:
        return _linearise(f, x, v)
    except NotImplementedError as error:
        first = str(error).splitlines()[0]
        raise IncompatibleError(
            f"the network has no forward-mode derivative, which likelihoods take: {first}",
            "write fused operations out, such as attention as softmax and products",
        ) from error


def _linearise(f: Callable[[Tensor], Tensor], x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    def product(direction: Tensor) -> tuple[Tensor, Tensor]:
        made = torch.func.jvp(f, (x,), (direction,))
        return made[0], made[1]

    if len(v) == 1:
        value, along = product(v[0])
        return value, along.unsqueeze(0)
    # torch annotates out_dims without the None that it documents
    batched: Any = torch.func.vmap
    pair: tuple[Tensor, Tensor] = batched(product, out_dims=(None, 0))(v)
    return pair


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
    def directions(self, x: Tensor, noise: Noise | None = None) -> Tensor:
        """The directions of one solve, shape (k, *x.shape); a random one stays fixed for the whole solve.

        A direction drawn anew at each evaluation would make the field discontinuous in time, and an adaptive
        solver would reduce its step without end.

        Args:
            x: State, shape (batch, …).
            noise: Where random ones come from; the global generator where not given.
        """

    @abstractmethod
    def evaluate(self, field: Linearised, t: Tensor, x: Tensor, v: Tensor) -> Evaluated:
        """The field and its trace at (t, x) with the directions of this solve."""


class ExactTrace(Trace):
    """tr J = Σ_i e_iᵀ J e_i: one direction for each dimension, all through one batched pass."""

    def directions(self, x: Tensor, noise: Noise | None = None) -> Tensor:
        """The basis; see `Trace.directions`."""
        d = x[0].numel()
        return torch.eye(d, dtype=x.dtype, device=x.device).view(d, 1, *x.shape[1:]).expand(d, *x.shape)

    def evaluate(self, field: Linearised, t: Tensor, x: Tensor, v: Tensor) -> Evaluated:
        """See `Trace.evaluate`."""
        f, products = field.linearise(t, x, v)
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
            raise UsageError(f"probes must be at least 1, got {probes}", "ask for 1 or more")
        self.distribution, self.probes = distribution, probes

    def directions(self, x: Tensor, noise: Noise | None = None) -> Tensor:
        """Fresh ε from the global generator, or each sample's own; see `Trace.directions`."""
        normal = self.distribution == "gaussian"
        if noise is not None:
            v = torch.stack([noise.normals(k, Stream.PROBE).to(x) for k in range(self.probes)])
            return v if normal else torch.where(v >= 0, 1.0, -1.0).to(x)
        v = torch.empty(self.probes, *x.shape, dtype=x.dtype, device=x.device)
        return v.normal_() if normal else v.bernoulli_(0.5).mul_(2).sub_(1)

    def evaluate(self, field: Linearised, t: Tensor, x: Tensor, v: Tensor) -> Evaluated:
        """See `Trace.evaluate`."""
        f, products = field.linearise(t, x, v)
        across = products.flatten(2)
        trace = (across * v.flatten(2)).sum(dim=2)
        squares = across.square().sum(dim=2)
        return Evaluated(f, trace.mean(dim=0), squares.mean(dim=0))
