"""Bodies that attract each other."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from .base import SystemDataModule
from .cards import THREE_BODY, TWO_BODY
from .generate import Array


def split(x: Array) -> tuple[Array, Array]:
    """Positions and velocities, each (…, bodies, 2), of states (…, 4 · bodies)."""
    pairs = x.reshape(*x.shape[:-1], 2, -1, 2)
    return pairs[..., 0, :, :], pairs[..., 1, :, :]


def gravity(x: Array) -> Array:
    """Rates of states (…, 4 · bodies): unit masses and constant of gravity, positions before velocities."""
    q, p = split(x)
    apart = q[..., None, :, :] - q[..., :, None, :]
    distance = np.linalg.norm(apart, axis=-1)
    near = np.eye(q.shape[-2], dtype=bool)
    pull = apart / np.where(near, 1.0, distance)[..., None] ** 3
    rates: Array = np.stack([p, pull.sum(axis=-2)], axis=-3).reshape(x.shape)
    return rates


def energy(x: Array) -> Array:
    """½Σ|v|² − Σ 1/distance over pairs, of states (…, 4 · bodies)."""
    q, p = split(x)
    first, second = np.triu_indices(q.shape[-2], 1)
    distance = np.linalg.norm(q[..., first, :] - q[..., second, :], axis=-1)
    value: Array = (p**2).sum(axis=(-1, -2)) / 2 - (1 / distance).sum(axis=-1)
    return value


class _Bodies(SystemDataModule):
    """Base of both."""

    bodies: int
    span = 5.0

    def rhs(self, t: float, x: Array) -> Array:
        """See `SystemDataModule.rhs`."""
        return gravity(x)

    def conserved(self, x: Array) -> Array | None:
        """Kinetic and potential energy."""
        return energy(x)

    def start(self, rng: np.random.Generator, n: int) -> Array:
        """Bodies evenly on a circle, with speeds near those of a circular orbit."""
        radius, angle, push = self.draw(rng, n)
        turn = angle[:, None] + 2 * np.pi / self.bodies * np.arange(self.bodies)
        q = radius[:, None, None] * np.stack([np.cos(turn), np.sin(turn)], axis=-1)
        # bodies on a circle of radius r: v² = r · Σ of pulls towards the centre
        sines = np.sin(np.pi / self.bodies * np.arange(1, self.bodies))
        speed = np.sqrt((1 / (4 * sines)).sum() / radius)[:, None, None] * push[..., None]
        p = speed * np.stack([-np.sin(turn), np.cos(turn)], axis=-1)
        return np.concatenate([q.reshape(n, -1), p.reshape(n, -1)], axis=-1)

    @abstractmethod
    def draw(self, rng: np.random.Generator, n: int) -> tuple[Array, Array, Array]:
        """Radius (n,), angle (n,), and speed over that of a circular orbit (n, bodies)."""


class TwoBody(_Bodies):
    """Two unit masses around each other, G = 1, as Greydanus et al. (2019), section 4.

    The bodies stand opposite at a distance from ½ to 1½ of the centre; their speeds are those of a circular
    orbit, times 1 + 0.05 ξ with ξ normal, the same for both.

    Args:
        **kwargs: See `SystemDataModule`.
    """

    card = TWO_BODY
    bodies = 2
    names = ("x₁", "y₁", "x₂", "y₂", "u₁", "v₁", "u₂", "v₂")
    span = 10.0

    def draw(self, rng: np.random.Generator, n: int) -> tuple[Array, Array, Array]:
        """See `_Bodies.draw`."""
        push = 1 + 0.05 * rng.standard_normal((n, 1))
        return rng.uniform(0.5, 1.5, n), rng.uniform(0, 2 * np.pi, n), np.repeat(push, 2, axis=1)


class ThreeBody(_Bodies):
    """Three unit masses around each other, G = 1: chaotic, as Greydanus et al. (2019), section 4.

    Args:
        **kwargs: See `SystemDataModule`.
    """

    card = THREE_BODY
    bodies = 3
    names = tuple(f"{axis}{'₁₂₃'[i]}" for part in ("xy", "uv") for i in range(3) for axis in part)
    span = 3.0

    def draw(self, rng: np.random.Generator, n: int) -> tuple[Array, Array, Array]:
        """See `_Bodies.draw`; each body has a speed of its own."""
        return rng.uniform(0.9, 1.2, n), rng.uniform(0, 2 * np.pi, n), rng.uniform(0.8, 1.2, (n, 3))
