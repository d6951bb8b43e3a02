"""Random numbers that a field draws from torch's global generators, drawn again or refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from .errors import SolverOptionError

States = Sequence[Tensor]


class Generators:
    """The CPU's global generator, and the one of the device that the state lies on.

    Args:
        device: Device of the state.
    """

    def __init__(self, device: torch.device) -> None:
        self._module = None if device.type == "cpu" else torch.get_device_module(device)
        self.before = self.states()
        """The states at construction."""

    def states(self) -> States:
        """The states now."""
        cpu = torch.default_generator.get_state()
        return (cpu,) if self._module is None else (cpu, self._module.get_rng_state())

    def set(self, states: States) -> None:
        """Go to these states."""
        torch.default_generator.set_state(states[0])
        if self._module is not None:
            self._module.set_rng_state(states[1])

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Leaves the generators as they were, whatever is drawn inside."""
        states = self.states()
        try:
            yield
        finally:
            self.set(states)

    def moved(self) -> bool:
        """Whether numbers were drawn since construction."""
        return not alike(self.before, self.states())

    def refuse_draws(self, solver: str, gradient: str) -> None:
        """Refuse a field that drew random numbers where a backward pass would draw others.

        Raises:
            SolverOptionError: Numbers were drawn since construction.
        """
        if self.moved():
            raise SolverOptionError(
                f"{solver}: the field draws random numbers (dropout, noise), and gradient={gradient} would"
                " evaluate it again with others",
                "set gradient: backprop, take fixed steps with gradient: checkpoint, or draw the numbers"
                " before the solve",
            )


def alike(a: States, b: States) -> bool:
    """Whether two records of the generators are the same."""
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
