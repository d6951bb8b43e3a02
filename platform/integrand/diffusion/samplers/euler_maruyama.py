"""Euler–Maruyama on the reverse-time equation."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .base import Run, Sampler
from .transfer import combine


class EulerMaruyama(Sampler):
    """x + (f x − g² s) Δt + g √|Δt| z on dx = (f x − g² ∇log p) dt + g dW̄ (Song et al. 2021, Eq. 6)."""

    order = 1
    stochastic = True

    def prepare(self, run: Run) -> None:
        """F and g² at every node."""
        t = torch.tensor([node.t for node in run.nodes[: run.last]], dtype=torch.float64)
        run.memory["f"] = run.process.drift(t).tolist()
        run.memory["g2"] = run.process.diffusion2(t).tolist()

    def step(self, run: Run, i: int, x: Tensor) -> Tensor:
        """See `Sampler.step`."""
        a, b = run.nodes[i], run.nodes[i + 1]
        f, g2, dt = run.memory["f"][i], run.memory["g2"][i], b.t - a.t
        score = run.evaluate(x, a).score()
        return combine(1 + f * dt, x, (-g2 * dt, score), (math.sqrt(-g2 * dt), run.normals(i)))

    def describe(self) -> str:
        """`euler-maruyama`."""
        return "euler-maruyama"
