"""The account of a solve that is made of several."""

from __future__ import annotations

from integrand.solvers import SolveStats


class _Sum:
    """A count that is the sum over the parts of an account and what was added to the account itself."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, stats: StagedStats, owner: type | None = None) -> int:
        return stats.own.get(self._name, 0) + self._total(stats)

    def __set__(self, stats: StagedStats, value: int) -> None:
        stats.own[self._name] = value - self._total(stats)

    def _total(self, stats: StagedStats) -> int:
        return sum(int(getattr(part, self._name)) for part in stats.parts)


class StagedStats(SolveStats):
    """The account of a net of several solves: its counts follow theirs while the backward pass runs.

    Args:
        solver: Short description of the whole.
    """

    def __init__(self, solver: str = "") -> None:
        self.own: dict[str, int] = {}
        self.parts: list[SolveStats] = []
        super().__init__(solver=solver, accepted=0, rejected=0)

    def add(self, part: SolveStats) -> None:
        """Take in the account of one more stage, which may still grow."""
        first = not self.parts
        self.parts.append(part)
        self.gradient = part.gradient
        self.accepted = _both(self.accepted, part.accepted)
        self.rejected = _both(self.rejected, part.rejected)
        steps = [s for s in (self.min_step, part.min_step) if s is not None]
        self.min_step = min(steps, default=None)
        self.max_step = _largest(self.max_step, part.max_step)
        self.stiffness = _largest(self.stiffness, part.stiffness)
        for name in ("nfe_per_sample", "accepted_per_sample", "rejected_per_sample", "step_sizes"):
            new, old = getattr(part, name), getattr(self, name)
            setattr(self, name, new if first else None if new is None or old is None else old + new)


_OPTIONAL = ("accepted", "rejected")
"""Counts that a solver may not tell."""

for _name, _merge in SolveStats.kept().items():
    if _merge == "sum" and _name not in _OPTIONAL:
        _count = _Sum()
        _count.__set_name__(StagedStats, _name)
        setattr(StagedStats, _name, _count)


def _both(a: int | None, b: int | None) -> int | None:
    return None if a is None or b is None else a + b


def _largest(a: float | None, b: float | None) -> float | None:
    return max((v for v in (a, b) if v is not None), default=None)
