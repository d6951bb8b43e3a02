"""GMRES with a subspace of its own for every sample of a batch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


@torch.no_grad()
def gmres(
    apply: Callable[[Tensor], Tensor], b: Tensor, accuracy: float, dimension: int = 40, restarts: int = 5
) -> tuple[Tensor, bool]:
    """X with apply(x) = b; Saad and Schultz (1986).

    Reads one number back from the device for each product.

    Args:
        apply: The matrix, on vectors of b's shape; samples do not act on each other.
        b: Right-hand side, shape (batch, ...).
        accuracy: Every sample's residual over its right-hand side, 2-norms.
        dimension: Largest subspace before a restart.
        restarts: How often to start again from the residual.

    Returns:
        x and whether it is that accurate.
    """
    shape, flat = b.shape, b.reshape(len(b), -1)

    def product(x: Tensor) -> Tensor:
        return apply(x.view(shape)).reshape(flat.shape)

    target = accuracy * flat.norm(dim=1)
    x, residual = torch.zeros_like(flat), flat
    for _ in range(1 + restarts):
        x = x + _cycle(product, residual, target, min(dimension, flat.shape[1]))
        residual = flat - product(x)
        # the residual known from the rotations drifts from the true one by rounding
        if bool((residual.norm(dim=1) <= 1.5 * target).all()):
            return x.view(shape), True
    return x.view(shape), False


def _cycle(product: Callable[[Tensor], Tensor], residual: Tensor, target: Tensor, dimension: int) -> Tensor:
    """The correction of least residual in the Krylov subspace of `residual`."""
    batch, d = residual.shape
    size = residual.norm(dim=1)
    basis = residual.new_zeros(batch, dimension + 1, d)
    basis[:, 0] = _unit(residual, size)
    triangle = residual.new_zeros(batch, dimension, dimension)
    rotated = [size]
    rotations: list[tuple[Tensor, Tensor]] = []
    n = 0
    for n in range(1, dimension + 1):
        v = product(basis[:, n - 1])
        v, column, size = _orthogonal(v, basis[:, :n])
        for i, (c, s) in enumerate(rotations):
            upper, lower = column[:, i].clone(), column[:, i + 1].clone()
            column[:, i], column[:, i + 1] = c * upper + s * lower, c * lower - s * upper
        length = torch.hypot(column[:, n - 1], size)
        c, s = _ratio(column[:, n - 1], length), _ratio(size, length)
        column[:, n - 1] = length
        triangle[:, :n, n - 1] = column
        rotations.append((c, s))
        rotated[-1:] = [c * rotated[-1], -s * rotated[-1]]
        basis[:, n] = _unit(v, size)
        if bool((rotated[-1].abs() <= target).all()):
            break
    weights = residual.new_zeros(batch, n)
    for i in reversed(range(n)):
        known = (triangle[:, i, i + 1 : n] * weights[:, i + 1 :]).sum(1)
        weights[:, i] = _ratio(rotated[i] - known, triangle[:, i, i])
    return torch.einsum("bn,bnd->bd", weights, basis[:, :n])


def _orthogonal(v: Tensor, basis: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What is left of v, its components along the basis, and the norm of what is left."""
    before = v.norm(dim=1)
    column = torch.zeros_like(basis[:, :, 0])
    for _ in range(2):  # once more removes what rounding left
        part = torch.einsum("bnd,bd->bn", basis, v)
        v = v - torch.einsum("bn,bnd->bd", part, basis)
        column = column + part
    size = v.norm(dim=1)
    # a sample whose subspace holds the answer has rounding left, which is no direction
    return v, column, torch.where(size > 10 * torch.finfo(v.dtype).eps * before, size, torch.zeros_like(size))


def _unit(v: Tensor, size: Tensor) -> Tensor:
    return _ratio(v, size.unsqueeze(1))


def _ratio(a: Tensor, b: Tensor) -> Tensor:
    """a/b, and zero where b is zero."""
    zero = b == 0
    return torch.where(zero, 0.0, a / torch.where(zero, 1.0, b))
