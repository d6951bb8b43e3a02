"""Fields that work in memory which is not theirs: in the state, or in a value that they returned before."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .errors import SolverError
from .transforms import refuse_vmap

LOOKS = 4
"""Evaluations that are watched; a field with a ring of up to three buffers is noticed by then."""


class FirstEvaluations:
    """Watches the first evaluations of a function of (t, y).

    Costs a few comparisons of addresses and version counters, and nothing afterwards. Values are held for as
    long as it watches, because memory that was freed is rightly used again.

    Args:
        name: What the function is, for the message.
    """

    def __init__(self, name: str) -> None:
        self.left = LOOKS
        self._name = name
        self._held: dict[int, tuple[Tensor, int, Tensor | None]] = {}

    def evaluate(self, function: Callable[[Tensor, Tensor], Tensor], t: Tensor, y: Tensor) -> Tensor:
        """The value of `function`.

        Raises:
            SolverError: It wrote into y, or into a value that it had returned before.
            SolverOptionError: Its value is one of many that vmap works on.
        """
        if torch.compiler.is_exporting():
            return function(t, y)  # a graph has neither addresses nor versions
        if torch._C._functorch.is_functorch_wrapped_tensor(y):
            value = function(t, y)
            refuse_vmap(value)
            return value
        # inference tensors do not count what is written into them
        copy = y.clone() if y.is_inference() else None
        before = 0 if copy is not None else y._version
        # y itself, which a field may know again: drift and diffusion may share their work
        value = function(t, y)
        if isinstance(value, Tensor):
            # weights may be many where the state is one
            refuse_vmap(value)
        written = y._version != before if copy is None else not _same(y, copy)
        if written:
            raise SolverError(
                f"the {self._name} writes into the state it is given", "let it work on a copy: y = y.clone()"
            )
        self.left -= 1
        if isinstance(value, Tensor) and value.numel():
            known = self._held.get(value.data_ptr())
            if known is not None:
                self._compare(*known)
            elif self.left:
                self._hold(value)
        if not self.left:
            self._held.clear()
        return value

    def forget(self) -> None:
        """Let the values go."""
        self.left = 0
        self._held.clear()

    def _compare(self, held: Tensor, version: int, copy: Tensor | None) -> None:
        if held._version != version if copy is None else not torch.equal(held, copy):
            raise SolverError(
                f"the {self._name} returns the same memory again, with other values in it",
                "return a new tensor at each evaluation, such as buffer.clone()",
            )

    def _hold(self, value: Tensor) -> None:
        # memory of NumPy and inference tensors count no writes
        if value.is_inference() or not value.untyped_storage().resizable():
            self._held[value.data_ptr()] = value, 0, value.detach().clone()
        else:
            self._held[value.data_ptr()] = value, value._version, None


def _same(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors hold the same numbers, NaN at the same places included."""
    return torch.allclose(a, b, rtol=0.0, atol=0.0, equal_nan=True)
