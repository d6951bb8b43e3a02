"""Fixed points z = g(z) by Anderson mixing and by Broyden's method, one sample independent of the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from integrand.solvers import NonFiniteStateError

Map = Callable[[Tensor], Tensor]


@dataclass
class FixedPoint:
    """What a search found.

    Args:
        z: For each sample the iterate of the smallest residual, shape of the start.
        residual: ‖g(z) − z‖ / ‖g(z)‖ of each sample, shape (batch,).
        converged: Whether each residual is within the tolerance, shape (batch,), bool.
        iterations: Evaluations of g.
        iterates: The iterates, the start first, where they were asked for.
    """

    z: Tensor
    residual: Tensor
    converged: Tensor
    iterations: int = 0
    iterates: list[Tensor] = field(default_factory=list)


class _Search:
    """Evaluates g, keeps the best iterate of each sample and knows which samples are done."""

    def __init__(self, g: Map, z: Tensor, tol: float, keep: bool) -> None:
        self.g, self.tol, self.keep, self.shape = g, tol, keep, z.shape
        flat = z.flatten(1)
        self.best, self.residual = flat, torch.full_like(flat[:, 0], torch.inf)
        self.done = torch.zeros_like(flat[:, 0], dtype=torch.bool)
        self.evaluations = 0
        self.iterates: list[Tensor] = [z] if keep else []

    def evaluate(self, z: Tensor) -> Tensor:
        """The difference r = g(z) − z at the flat iterate z; notes how good z is."""
        value = self.g(z.view(self.shape)).flatten(1)
        self.evaluations += 1
        r = value - z
        size = r.norm(dim=1)
        # relative; at z = g(z) = 0 the quotient is 0 as well
        relative = size / value.norm(dim=1).clamp(min=torch.finfo(z.dtype).tiny)
        better = relative < self.residual
        self.best = torch.where(better[:, None], z, self.best)
        self.residual = torch.where(better, relative, self.residual)
        self.done = self.residual <= self.tol
        if self.keep:
            self.iterates.append(self.best.view(self.shape))
        return r

    def advance(self, z: Tensor, step: Tensor) -> Tensor:
        """The next iterate: z + step, and z where the sample is done."""
        return torch.where(self.done[:, None], self.best, z + step)

    def finished(self) -> bool:
        """Whether all samples are done; one synchronisation."""
        return bool(self.done.all())

    def result(self) -> FixedPoint:
        """What was found.

        Raises:
            NonFiniteStateError: A sample never had a finite residual.
        """
        if not bool(torch.isfinite(self.residual).all()):
            raise NonFiniteStateError(
                f"the fixed-point iteration is not finite after {self.evaluations} evaluations",
                "lower the learning rate, or take the monotone block of the deep equilibrium net",
            )
        best = self.best.view(self.shape)
        return FixedPoint(best, self.residual, self.done, self.evaluations, self.iterates)


def anderson(g: Map, z: Tensor, tol: float, max_iter: int, memory: int = 5, keep: bool = False) -> FixedPoint:
    """Anderson mixing (Walker & Ni 2011, Anderson Acceleration for Fixed-Point Iterations).

    The next iterate is z + r − (ΔZ + ΔR) γ, where γ minimises ‖r − ΔR γ‖ over the last `memory` differences
    ΔZ of the iterates and ΔR of r = g(z) − z.

    Args:
        g: The map, from (batch, ...) to the same shape.
        z: Start, shape (batch, ...).
        tol: Relative residual at which a sample is done.
        max_iter: Most evaluations of g.
        memory: Differences kept.
        keep: Keep the iterates.
    """
    search = _Search(g, z, tol, keep)
    z = z.flatten(1)
    r = search.evaluate(z)
    moves: list[Tensor] = []
    changes: list[Tensor] = []
    eps, tiny = torch.finfo(z.dtype).eps, torch.finfo(z.dtype).tiny
    while search.evaluations < max_iter and not search.finished():
        step = r
        if moves:
            dz, dr = torch.stack(moves, dim=2), torch.stack(changes, dim=2)
            gram = dr.mT @ dr
            # as little as keeps the normal equations solvable; tiny for samples that no longer move
            ridge = 10 * eps * gram.diagonal(dim1=1, dim2=2).sum(1) + tiny
            gram = gram + ridge[:, None, None] * torch.eye(len(moves), dtype=z.dtype, device=z.device)
            gamma = torch.linalg.solve(gram, dr.mT @ r[:, :, None])
            step = r - ((dz + dr) @ gamma)[:, :, 0]
        new = search.advance(z, step)
        new_r = search.evaluate(new)
        moves, changes = [*moves, new - z][-memory:], [*changes, new_r - r][-memory:]
        z, r = new, new_r
    return search.result()


def broyden(g: Map, z: Tensor, tol: float, max_iter: int, memory: int = 20, keep: bool = False) -> FixedPoint:
    """Broyden's good method on g(z) − z = 0 (1965, A Class of Methods for Solving Nonlinear Equations).

    The inverse Jacobian starts at −I, which makes the first step the plain iteration, and is kept as
    −I + U Vᵀ by the Sherman–Morrison formula; it starts again when `memory` updates are full.

    Args:
        g: The map, from (batch, ...) to the same shape.
        z: Start, shape (batch, ...).
        tol: Relative residual at which a sample is done.
        max_iter: Most evaluations of g.
        memory: Updates kept.
        keep: Keep the iterates.
    """
    search = _Search(g, z, tol, keep)
    z = z.flatten(1)
    r = search.evaluate(z)
    us: list[Tensor] = []
    vs: list[Tensor] = []

    def inverse(y: Tensor, left: list[Tensor], right: list[Tensor]) -> Tensor:
        """(−I + Σ left_i right_iᵀ) y."""
        value = -y
        for u, v in zip(left, right, strict=True):
            value = value + u * (v * y).sum(1, keepdim=True)
        return value

    while search.evaluations < max_iter and not search.finished():
        new = search.advance(z, -inverse(r, us, vs))
        new_r = search.evaluate(new)
        s, y = new - z, new_r - r
        if len(us) == memory:
            us, vs = [], []
        by, sb = inverse(y, us, vs), inverse(s, vs, us)
        denominator = (sb * y).sum(1, keepdim=True)
        # a sample that stands still has nothing to learn
        usable = denominator.abs() > torch.finfo(z.dtype).tiny
        us.append(torch.where(usable, (s - by) / torch.where(usable, denominator, 1), 0))
        vs.append(sb)
        z, r = new, new_r
    return search.result()
