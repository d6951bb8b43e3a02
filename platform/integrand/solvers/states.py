"""States of several tensors as the one tensor that solvers work on, and back."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from integrand.errors import SpecError


@dataclass(frozen=True)
class Layout:
    """How a state of tensors lies in one real tensor.

    Tensors that share their first dimension keep it as the batch, so that steps of their own for every sample
    remain possible; anything else is one sample. Complex numbers become pairs.

    Args:
        like: The state described: a tensor, or tuples, lists and dicts of states.
        shapes: Shape of every tensor, in order.
        dtypes: Dtype of every tensor.
        batch: The shared first dimension; None where there is none.
        plain: Whether the state is one real tensor that needs no packing.
    """

    like: Any
    shapes: tuple[torch.Size, ...]
    dtypes: tuple[torch.dtype, ...]
    batch: int | None
    plain: bool

    @classmethod
    def of(cls, state: Any) -> Layout:
        """The layout of an initial state.

        Raises:
            SpecError: A part is not a floating-point or complex tensor, there is none, or they lie on several
                devices.
        """
        parts = _parts(state, state, "y0")
        _check_initial(parts)
        firsts = {p.shape[0] if p.ndim else None for p in parts}
        batch = next(iter(firsts)) if len(firsts) == 1 else None
        plain = isinstance(state, Tensor) and state.ndim > 0 and not state.is_complex()
        return cls(state, tuple(p.shape for p in parts), tuple(p.dtype for p in parts), batch, plain)

    def pack(self, state: Any, what: str = "y0") -> Tensor:
        """One tensor (batch, n), or (1, n) without a batch.

        Args:
            state: A state of this structure and these shapes.
            what: Its name in errors.

        Raises:
            SpecError: Structure or shapes differ from those of the layout.
        """
        if self.plain:
            return _tensor(state, what)
        parts = _parts(state, self.like, what)
        rows = 1 if self.batch is None else self.batch
        for part, shape in zip(parts, self.shapes, strict=True):
            if part.shape != shape:
                raise SpecError(
                    f"{what} holds shape {tuple(part.shape)} where the state holds {tuple(shape)}",
                    "return dy/dt with the structure and the shapes of y",
                )
        flat = [(torch.view_as_real(p) if p.is_complex() else p).reshape(rows, -1) for p in parts]
        return torch.cat(flat, dim=1)

    def unpack(self, packed: Tensor) -> Any:
        """The state, or the trajectory of every part where `packed` has a time dimension in front."""
        if self.plain:
            return packed
        lead = packed.shape[:-2]
        rows = 1 if self.batch is None else self.batch
        sizes = [
            math.prod(shape) * (2 if dtype.is_complex else 1) // max(rows, 1)
            for shape, dtype in zip(self.shapes, self.dtypes, strict=True)
        ]
        pieces = []
        for piece, shape, dtype in zip(
            torch.split(packed, sizes, dim=-1), self.shapes, self.dtypes, strict=True
        ):
            if dtype.is_complex:
                real = piece.reshape((*lead, *shape, 2))
                pieces.append(torch.view_as_complex(real.contiguous()))
            else:
                pieces.append(piece.reshape((*lead, *shape)))
        return _rebuild(self.like, pieces)

    def restore(self, ys: Tensor) -> Any:
        """The trajectory of every part, (n_t, ...) each, in its own dtype."""
        if self.plain:
            return ys
        parts = _parts(self.unpack(ys), self.like, "ys")
        return _rebuild(self.like, [p.to(d) for p, d in zip(parts, self.dtypes, strict=True)])


def _check_initial(parts: Sequence[Tensor]) -> None:
    if not parts:
        raise SpecError("the initial state holds no tensor", "pass at least one tensor")
    if len({p.device for p in parts}) > 1:
        devices = ", ".join(sorted({str(p.device) for p in parts}))
        raise SpecError(f"the tensors of the initial state lie on {devices}", "move them to one device")
    for p in parts:
        if not (p.is_floating_point() or p.is_complex()):
            raise SpecError(f"the initial state holds {p.dtype}", "cast it with .float()")


def _tensor(value: Any, what: str) -> Tensor:
    if isinstance(value, Tensor):
        return value
    raise SpecError(f"{what} is {type(value).__name__} where the state is a tensor", "return a tensor")


def _parts(state: Any, like: Any, what: str) -> list[Tensor]:
    """The tensors of `state` in the order of `like`."""
    if not isinstance(like, Mapping | tuple | list):
        return [_tensor(state, what)]
    if not _alike(state, like):
        raise _differs(state, like, what)
    keys: Iterable[Any] = like if isinstance(like, Mapping) else range(len(like))
    return [p for key in keys for p in _parts(state[key], like[key], f"{what}[{key!r}]")]


def _alike(state: Any, like: Mapping[Any, Any] | tuple[Any, ...] | list[Any]) -> bool:
    """Whether `state` is a container like `like`, with the same keys or as many parts."""
    if isinstance(like, Mapping):
        return isinstance(state, Mapping) and state.keys() == like.keys()
    return isinstance(state, tuple | list) and len(state) == len(like)


def _rebuild(like: Any, parts: list[Tensor]) -> Any:
    """A state of the structure of `like`; takes its tensors from the front of `parts`."""
    if isinstance(like, Mapping):
        return {key: _rebuild(like[key], parts) for key in like}
    if isinstance(like, tuple | list):
        children = [_rebuild(part, parts) for part in like]
        # a named tuple takes its fields one by one
        return type(like)(*children) if hasattr(like, "_fields") else type(like)(children)
    return parts.pop(0)


def _differs(state: Any, like: Any, what: str) -> SpecError:
    def words(value: Any) -> str:
        if isinstance(value, Mapping):
            return f"a dict of {', '.join(map(str, value))}"
        if isinstance(value, tuple | list):
            return f"{type(value).__name__} of {len(value)}"
        return type(value).__name__

    return SpecError(
        f"{what} is {words(state)} where the state is {words(like)}",
        "return dy/dt with the structure of y",
    )
