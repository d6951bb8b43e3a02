"""A residual function or vector field of one's own, in place of the bench's."""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from integrand.errors import UsageError

_EXAMPLE = "field=MyField, or lambda channels: MyField(channels, …)"


class OwnField(nn.Module):
    """f(t, h) as somebody else has written it, checked for what the equation needs.

    Args:
        field: Called as `field(t, h)`.
        channels: Channels of its value.

    Raises:
        UsageError: When it is called, the field cannot be evaluated, or its value has another shape.
    """

    def __init__(self, field: nn.Module, channels: int) -> None:
        super().__init__()
        self.field = field
        self.channels = channels
        self._evaluated = False

    def forward(self, t: Tensor, h: Tensor) -> Tensor:
        """Evaluate at the scalar t and the state h of shape (batch, channels, …)."""
        value: Any = self.field(t, h) if self._evaluated else self._first(t, h)
        shape = (h.shape[0], self.channels, *h.shape[2:])
        if not isinstance(value, Tensor) or value.shape != shape:
            given = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise UsageError(
                f"{type(self.field).__name__} returned {given} for a state of shape {tuple(h.shape)}",
                f"forward(t, y) of a field has to return a tensor of shape {shape}",
            )
        self._evaluated = True
        return value

    def _first(self, t: Tensor, h: Tensor) -> Any:
        """The first value; later failures have other causes than a field that does not fit."""
        try:
            return self.field(t, h)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, TypeError, NotImplementedError, IndexError, ValueError) as error:
            if isinstance(error, RuntimeError) and "dtype" in str(error):
                raise  # solvers know what to say about precision
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise UsageError(
                f"{type(self.field).__name__} cannot be evaluated at a state of shape {tuple(h.shape)}: "
                f"{first}",
                "forward(t, y) has to take the time, a 0-d tensor, and the state",
            ) from error


class OwnFields:
    """Makes fields of one's own where the bench would make its; it is a `FieldMaker`.

    The maker is told what it has parameters for: `channels`, `out_channels`, `time_dependent`.

    Args:
        make: The class of the field, or a function that returns a module.

    Attributes:
        made: How many it has made.

    Raises:
        UsageError: It is a field already, or nothing that can be called.
    """

    def __init__(self, make: Any) -> None:
        if isinstance(make, nn.Module) or not callable(make):
            raise UsageError(
                f"field is a {type(make).__name__}, but a network makes its fields itself, with new weights",
                f"give its class or a function: {_EXAMPLE}",
            )
        self.make = make
        self.takes = _parameters(make)
        self.made = 0

    def __call__(
        self, channels: int, out_channels: int | None = None, time_dependent: bool = False
    ) -> nn.Module:
        """A field from `channels` to `out_channels`."""
        known = {
            "channels": channels,
            "out_channels": out_channels or channels,
            "time_dependent": time_dependent,
        }
        if out_channels not in (None, channels) and "out_channels" not in self.takes:
            raise UsageError(
                f"the equation wants a field from {channels} to {out_channels} channels",
                "give the field's constructor a parameter out_channels",
            )
        field = self.make(**{name: value for name, value in known.items() if name in self.takes})
        if not isinstance(field, nn.Module):
            raise UsageError(
                f"model.field makes a {type(field).__name__}, which is no torch.nn.Module",
                f"give the class of a module: {_EXAMPLE}",
            )
        self.made += 1
        return OwnField(field, out_channels or channels)


def _parameters(make: Any) -> set[str]:
    """Names of the parameters that are still free; through `**kwargs` also those of the bases."""
    bound: set[str] = set()
    while isinstance(make, partial):
        bound |= set(make.keywords)
        # the command line hands over the class as an argument of what instantiates it
        make = next((a for a in make.args if inspect.isclass(a)), make.func)
    found: set[str] = set()
    constructors = (
        [base.__dict__.get("__init__") for base in make.__mro__] if inspect.isclass(make) else [make]
    )
    for constructor in constructors:
        if constructor is None:
            continue
        parameters = inspect.signature(constructor).parameters.values()
        found |= {p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return found - bound
