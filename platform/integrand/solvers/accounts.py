"""Counting evaluations: the wrapper every solver calls the field through, and counters for tests."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from integrand.errors import SpecError

from .aliasing import FirstEvaluations
from .clock import needs_float64
from .errors import MaxNFEError, SolverError, SolverOptionError
from .hidden_inputs import KnownInputs
from .processes import collectives, refuse_collectives, refuse_replicas
from .solution import SolveStats


class Counted(Protocol):
    """A counted field, whole or in parts."""

    stats: SolveStats

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        """Evaluate."""

    def start_backward(self) -> None:
        """From now on calls belong to the backward pass."""

    def add_vjps(self, number: int) -> None:
        """Account for vector-Jacobian products."""

    def recomputing(self) -> AbstractContextManager[None]:
        """The surroundings of a recomputation."""


class CountedField:
    """A field as solvers call it: counts, checks the result, and stops a runaway solve.

    A plain object, because a counter on an `nn.Module` costs ten times as much per call and recompiles a
    compiled field at every call. It always stays outside any compiled region.

    Args:
        field: Module called as `field(t, y)`.
        stats: The account to fill; `in_backward` says which side of it.
        max_nfe: Largest number of evaluations of the forward and, separately, of the backward solve.
        autocast: Whether the field runs under the autocast state found now, also in the backward pass.
        device_type: Device type of the state.
        watch: Keep the last evaluation for error messages, and count vector-Jacobian products one by one as
            they happen; for solvers whose steps are made elsewhere.
        uneven: Whether the number of evaluations follows from the data, so that processes that train
            together may need different numbers; a field that talks to other processes is then refused.
    """

    def __init__(
        self,
        field: nn.Module,
        stats: SolveStats,
        *,
        max_nfe: int | None = None,
        autocast: bool = False,
        device_type: str = "cpu",
        watch: bool = False,
        uneven: bool = False,
    ) -> None:
        refuse_replicas(field)
        self.field = field
        self.stats = stats
        self.limit = math.inf if max_nfe is None else max_nfe
        self.in_backward = False
        self.last: tuple[Tensor, Tensor, Tensor] | None = None
        self.known: KnownInputs | None = None
        """The inputs of the backward solve, where recomputed values are to be searched for others."""
        self._watch = watch
        self._uneven = uneven
        self._special = True
        self._first = FirstEvaluations("field")
        self._remembered: Tensor | None = None
        self._device_type = device_type
        self._managed = False
        self._autocast = autocast and torch.is_autocast_enabled(device_type)
        self._autocast_dtype = torch.get_autocast_dtype(device_type)
        # what updates itself when evaluated must not do so again when the backward pass recomputes
        self._batch_norms = [
            m for m in field.modules() if isinstance(m, _BatchNorm) and m.track_running_stats
        ]

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        """Evaluate the field once on one batch."""
        if self._special:
            return self._special_call(t, y)
        stats = self.stats
        nfe = stats.nfe_forward
        if nfe >= self.limit:
            raise self._exhausted("forward solve", t, nfe)
        stats.nfe_forward = nfe + 1
        f: Tensor = self.field(t, y)
        return f

    def _special_call(self, t: Tensor, y: Tensor) -> Tensor:
        """The calls that need more than counting: the first one, and all where the caller asked for more."""
        if self._remembered is not None:
            value, self._remembered = self._remembered, None
            return value
        if self.in_backward:
            return self._recompute(t, y)
        if self.stats.nfe_forward >= self.limit:
            raise self._exhausted("forward solve", t, self.stats.nfe_forward)
        self.stats.nfe_forward += 1
        begun = collectives() if self._uneven else 0
        first = self._first
        try:
            f: Tensor = first.evaluate(self.field, t, y) if first.left else self.field(t, y)
        except RuntimeError as error:
            raise needs_float64(t, y, error) from error
        if self._uneven:
            # the first evaluation tells: all processes make it
            refuse_collectives(begun, self.stats.solver)
            self._uneven = False
        if f.shape != y.shape or f.dtype != y.dtype or f is y:
            f = self._conform(f, y)
        else:
            self._special = self._watch or self._autocast or first.left > 0
        if self._watch:
            self.last = (t, y, f)
            if f.requires_grad:
                # of the account alone: self may hold f, and no collector sees a cycle through a hook
                f.register_hook(partial(_count_vjp, self.stats))  # type: ignore[no-untyped-call]  # torch
        return f

    def evaluate_first(self, t: Tensor, y: Tensor) -> Tensor:
        """Evaluate at the initial state now; the solver's own first call gets this value for nothing."""
        value = self(t, y)
        self.remember(value)
        return value

    def remember(self, value: Tensor) -> None:
        """Answer the next call with `value` instead of an evaluation."""
        self._remembered, self._special = value, True

    def forget(self) -> None:
        """Evaluate the next call after all."""
        self._remembered = None

    def start_backward(self) -> None:
        """From now on calls belong to the backward pass."""
        self.last = self._remembered = None
        self.in_backward = self._special = True
        self._first.forget()

    def _recompute(self, t: Tensor, y: Tensor) -> Tensor:
        stats = self.stats
        if stats.nfe_backward >= self.limit:
            raise self._exhausted("backward solve", t, stats.nfe_backward)
        stats.nfe_backward += 1
        stats.vjps += 1  # one follows every recomputation
        if self._managed:
            f: Tensor = self.field(t, y)
        else:
            with self.recomputing():
                f = self.field(t, y)
        if self.known is not None and torch.is_grad_enabled():
            self.known.look_for_others((f,), (t, y), t.detach())
        if f.dtype != y.dtype or f is y:
            f = self._conform(f, y)
        if self._watch:
            self.last = (t, y, f)
        return f

    @contextmanager
    def recomputing(self) -> Iterator[None]:
        """The surroundings of a recomputation: the forward solve's autocast, and no updates of statistics."""
        with ExitStack() as stack:
            if self._autocast != torch.is_autocast_enabled(self._device_type):
                stack.enter_context(
                    torch.autocast(self._device_type, dtype=self._autocast_dtype, enabled=self._autocast)
                )
            for module in self._batch_norms:
                # without tracking, training mode uses the batch's statistics and updates nothing
                module.track_running_stats = False
                stack.callback(setattr, module, "track_running_stats", True)
            self._managed = True
            stack.callback(setattr, self, "_managed", False)
            yield

    def charge(self, number: int, t: Tensor) -> None:
        """Account for evaluations made inside a compiled step; the limit is kept as for single ones."""
        stats = self.stats
        if self.in_backward:
            if stats.nfe_backward + number > self.limit:
                raise self._exhausted("backward solve", t, stats.nfe_backward)
            stats.nfe_backward += number
            stats.vjps += number
        else:
            if stats.nfe_forward + number > self.limit:
                raise self._exhausted("forward solve", t, stats.nfe_forward)
            stats.nfe_forward += number

    def add_vjps(self, number: int) -> None:
        """Account for vector-Jacobian products that the backward pass makes."""
        self.stats.vjps += number

    def _conform(self, f: Tensor, y: Tensor) -> Tensor:
        if f.shape != y.shape:
            raise SpecError(
                f"the field returned shape {tuple(f.shape)} for a state of shape {tuple(y.shape)}",
                "field(t, y) must return dy/dt with the shape of y",
            )
        # a field that returns its input needs a tensor of its own, or one gradient would count for both
        return f.clone() if f is y else f.to(y.dtype)

    def _exhausted(self, where: str, t: Tensor, nfe: int) -> SolverError:
        return MaxNFEError(
            f"the {where} used up max_nfe={self.limit} at {_where(t)} (NFE {nfe})",
            "raise max_nfe, loosen rtol and atol, take a fixed-step or stiff method, or regularise the field",
        )


def _count_vjp(stats: SolveStats, _: Tensor) -> None:
    stats.vjps += 1


def _where(t: Tensor) -> str:
    """One time, or the earliest and the latest of the samples'."""
    low, high = t.min().item(), t.max().item()
    return f"t={low:.6g}" if low == high else f"t={low:.6g} to {high:.6g}"


def refuse_dropout(field: nn.Module, gradient: str) -> None:
    """Refuse active dropout where the backward pass evaluates the field again.

    Raises:
        SolverOptionError: The recomputed field would draw other masks and so be another function.
    """
    for name, module in field.named_modules():
        if isinstance(module, nn.modules.dropout._DropoutNd) and module.training and module.p > 0:
            raise SolverOptionError(
                f"gradient={gradient} recomputes the field, but its dropout {name!r} would draw another mask",
                "set gradient: backprop, take fixed steps with gradient: checkpoint, or move it out of"
                " the field",
            )


class EvaluationCounter(nn.Module):
    """A field that counts its own calls, to check a solver's account against.

    Args:
        field: Module called as `field(t, y)`.
    """

    def __init__(self, field: nn.Module) -> None:
        super().__init__()
        self.field = field
        self.calls = 0

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Evaluate and count one."""
        self.calls += 1
        value: Tensor = self.field(t, y)
        return value

    def reset(self) -> int:
        """The calls so far; starts again at zero. Read it between forward and backward to tell them apart."""
        calls, self.calls = self.calls, 0
        return calls


class Calls:
    """Number of forward calls seen by `count`."""

    def __init__(self) -> None:
        self.calls = 0


@contextmanager
def count(*modules: nn.Module) -> Iterator[Calls]:
    """Count the forward calls of modules inside a network that a test cannot wrap.

    Args:
        *modules: Residual functions or fields; their calls are added up.
    """
    seen = Calls()

    def one(*_: object) -> None:
        seen.calls += 1

    handles = [m.register_forward_pre_hook(one) for m in dict.fromkeys(modules)]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
