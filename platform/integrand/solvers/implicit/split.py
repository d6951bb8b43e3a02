"""Fields split into a stiff part and another, and how they are counted."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from torch import Tensor, nn

from ..accounts import CountedField
from ..own_times import Rescaled


class SplitField(nn.Module):
    """A field ẏ = f(t, y) + g(t, y) whose stiff part g is stepped implicitly, and f explicitly.

    Called as a whole it is the sum, so that any other solver takes it too.
    """

    @abstractmethod
    def explicit(self, t: Tensor, y: Tensor) -> Tensor:
        """f(t, y), the part that need not be stiff; shape of y."""

    @abstractmethod
    def implicit(self, t: Tensor, y: Tensor) -> Tensor:
        """g(t, y), the stiff part; shape of y."""

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """f(t, y) + g(t, y)."""
        return self.explicit(t, y) + self.implicit(t, y)

    def over_shares(self, scale: Rescaled) -> nn.Module:
        """See `InParts`."""
        return _OverShares(self, scale)


class _OverShares(SplitField):
    def __init__(self, field: SplitField, scale: Rescaled) -> None:
        super().__init__()
        self.field, self.scale = field, scale

    def explicit(self, t: Tensor, y: Tensor) -> Tensor:
        return self.scale.of(self.field.explicit, t, y)

    def implicit(self, t: Tensor, y: Tensor) -> Tensor:
        return self.scale.of(self.field.implicit, t, y)


class Part(nn.Module):
    """One part of a split field as a field.

    Args:
        whole: The split field.
        name: `explicit` or `implicit`.
    """

    def __init__(self, whole: SplitField, name: str) -> None:
        super().__init__()
        self.whole, self.name = whole, name

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """The part's value."""
        part: Tensor = getattr(self.whole, self.name)(t, y)
        return part


class CountedParts:
    """Two counted parts as one field; an evaluation of either counts one.

    Args:
        parts: They share one account.
    """

    def __init__(self, *parts: CountedField) -> None:
        self.parts, self.stats = parts, parts[0].stats

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        """The sum of the parts."""
        first, second = self.parts
        return first(t, y) + second(t, y)

    def start_backward(self) -> None:
        """See `CountedField`."""
        for part in self.parts:
            part.start_backward()

    def add_vjps(self, number: int) -> None:
        """See `CountedField`."""
        self.parts[0].add_vjps(number)

    @contextmanager
    def recomputing(self) -> Iterator[None]:
        """See `CountedField`."""
        with ExitStack() as stack:
            for part in self.parts:
                stack.enter_context(part.recomputing())
            yield
