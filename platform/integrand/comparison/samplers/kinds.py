"""Kinds of samplers, so that thirty of them fit into a figure."""

from __future__ import annotations

from collections.abc import Sequence

KINDS = (
    ("with noise", ("euler-maruyama", "reverse-diffusion", "ddpm", "pc", "heun-churn", "dpm-solver++-sde")),
    ("ODE solvers, DDIM", ("ddim", "flow-", "heun", "euler", "midpoint", "rk4", "bosh3", "dopri", "tsit")),
    ("DPM-Solver++", ("dpm-solver++",)),
    ("DPM-Solver", ("dpm-solver",)),
    ("UniPC, PNDM, PLMS, iPNDM", ("unipc", "pndm", "plms", "ipndm")),
    ("DEIS", ("deis",)),
)
"""Kind and how its samplers' names begin; the first that fits counts."""
OTHERS = "others"
MOST = 7
"""Lines that one panel holds."""


def kind(sampler: str) -> str:
    """The kind of the sampler of that label."""
    return next((name for name, starts in KINDS if sampler.startswith(starts)), OTHERS)


def panels(samplers: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Samplers by kind, `MOST` at most in each; one panel without a title where few are compared."""
    if len(samplers) <= MOST:
        return [("", list(samplers))]
    found = []
    for name in [*(name for name, _ in KINDS), OTHERS]:
        own = [s for s in samplers if kind(s) == name]
        parts = [own[i : i + MOST] for i in range(0, len(own), MOST)]
        found += [(name if i == 0 else f"{name}, continued", part) for i, part in enumerate(parts)]
    return found
