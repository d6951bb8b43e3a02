"""The experiments of Greydanus et al. (2019) on Hamiltonian networks, as their code draws them.

Training is on derivatives that are exact, at states that are noisy where the authors' are. Evaluation follows
fifteen trajectories, whose starts are those of the authors' evaluation. The horizons are those that the paper
states; for the spring the authors' notebook lengthens its horizon with every trajectory, from 24 to 79.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .base import SystemDataModule
from .bodies import ThreeBody, TwoBody
from .cards import HNN_PENDULUM, HNN_SPRING, HNN_THREE_BODY, HNN_TWO_BODY
from .generate import Array
from .spring import Spring


def on_a_circle(rng: np.random.Generator, n: int, low: float, high: float) -> Array:
    """States (n, 2) of radius uniform in [low, high], in the direction of a point uniform in a square."""
    x = rng.uniform(-1.0, 1.0, (n, 2))
    x *= rng.uniform(low, high, (n, 1)) / np.linalg.norm(x, axis=1, keepdims=True)
    return x


def off_the_axes(rng: np.random.Generator, n: int) -> Array:
    """States (n, 2) whose components have a size uniform in [0.2, 1] and any sign."""
    x = rng.uniform(-0.8, 0.8, (n, 2))
    return np.asarray(x + 0.2 * np.sign(x))


class HNNSpring(Spring):
    """H = p² + q², 25 trajectories of 30 observations on [0, 3] with noise 0.1; evaluation on [0, 20].

    Args:
        trajectories: Trajectories of the training split.
        test_trajectories: Those of the test split.
        eval_duration: Length of a trajectory of evaluation.
        noise: Standard deviation of Gaussian noise on training observations.
        **kwargs: See `SystemDataModule`.
    """

    card = HNN_SPRING

    def __init__(
        self,
        trajectories: int = 25,
        test_trajectories: int = 15,
        eval_duration: float = 20.0,
        noise: float = 0.1,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            trajectories=trajectories,
            test_trajectories=test_trajectories,
            eval_duration=eval_duration,
            noise=noise,
            **kwargs,
        )

    def points_of(self, split: str) -> int:
        """100 in evaluation."""
        return self.points if split == "train" else 100

    def start(self, rng: np.random.Generator, n: int) -> Array:
        """See `SystemDataModule.start`."""
        return on_a_circle(rng, n, 0.1, 1.0)

    def starts(self, split: str, rng: np.random.Generator) -> Array:
        """See `SystemDataModule.starts`."""
        return off_the_axes(rng, self.counts[split]) if split == "test" else super().starts(split, rng)


class HNNPendulum(SystemDataModule):
    """H = p² + 3(1 − cos q), 25 trajectories of 45 observations on [0, 3], noise 0.1; evaluation on [0, 20].

    Starts of training have radius 1.3 to 2.3, those of the authors' evaluation 0.3 to 1.4.

    Args:
        trajectories: Trajectories of the training split.
        test_trajectories: Those of the test split.
        points: Observations of a training trajectory.
        eval_duration: Length of a trajectory of evaluation.
        noise: Standard deviation of Gaussian noise on training observations.
        squares: Whether the energy is q² + p², which the authors' notebook compares and the law does not
            conserve, instead of H.
        **kwargs: See `SystemDataModule`.
    """

    card = HNN_PENDULUM
    names = ("q", "p")
    span = 3.0

    def __init__(
        self,
        trajectories: int = 25,
        test_trajectories: int = 15,
        points: int = 45,
        eval_duration: float = 20.0,
        noise: float = 0.1,
        squares: bool = False,
        **kwargs: Any,
    ) -> None:
        self.squares = squares
        super().__init__(
            trajectories=trajectories,
            test_trajectories=test_trajectories,
            points=points,
            eval_duration=eval_duration,
            noise=noise,
            **kwargs,
        )

    def points_of(self, split: str) -> int:
        """100 in evaluation."""
        return self.points if split == "train" else 100

    def rhs(self, t: float, x: Array) -> Array:
        """See `SystemDataModule.rhs`."""
        return np.stack([2 * x[..., 1], -3 * np.sin(x[..., 0])], axis=-1)

    def start(self, rng: np.random.Generator, n: int) -> Array:
        """See `SystemDataModule.start`."""
        return on_a_circle(rng, n, 1.3, 2.3)

    def starts(self, split: str, rng: np.random.Generator) -> Array:
        """See `SystemDataModule.starts`."""
        return off_the_axes(rng, self.counts[split]) if split == "test" else super().starts(split, rng)

    def conserved(self, x: Array) -> Array | None:
        """p² + 3(1 − cos q), or what `squares` asks for."""
        potential = x[..., 0] ** 2 if self.squares else 3 * (1 - np.cos(x[..., 0]))
        energy: Array = x[..., 1] ** 2 + potential
        return energy


class HNNTwoBody(TwoBody):
    """Two bodies, 800 orbits of 50 observations on [0, 20] without noise; evaluation on [0, 25].

    The first body starts in the first quadrant, each coordinate uniform in [0.5, 1.5].

    Args:
        trajectories: Trajectories of the training split.
        test_trajectories: Those of the test split.
        points: Observations of a training trajectory.
        duration: Length of a training trajectory.
        eval_duration: Length of a trajectory of evaluation.
        **kwargs: See `SystemDataModule`.
    """

    card = HNN_TWO_BODY

    def __init__(
        self,
        trajectories: int = 800,
        test_trajectories: int = 15,
        points: int = 50,
        duration: float = 20.0,
        eval_duration: float = 25.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            trajectories=trajectories,
            test_trajectories=test_trajectories,
            points=points,
            duration=duration,
            eval_duration=eval_duration,
            **kwargs,
        )

    def points_of(self, split: str) -> int:
        """500 in evaluation."""
        return self.points if split == "train" else 500

    def draw(self, rng: np.random.Generator, n: int) -> tuple[Array, Array, Array]:
        """Radius, angle and push; see `TwoBody.draw`."""
        x, y = rng.uniform(0.5, 1.5, (2, n))
        push = 1 + 0.05 * rng.standard_normal((n, 1))
        return np.hypot(x, y), np.arctan2(y, x), np.repeat(push, 2, axis=1)


class HNNThreeBody(ThreeBody):
    """Three bodies, 4,000 orbits of 20 observations on [0, 5] without noise; evaluation on [0, 3].

    Each component of each velocity is that of a circular orbit times a factor uniform in [0.8, 1.2].

    Args:
        trajectories: Trajectories of the training split.
        test_trajectories: Those of the test split.
        points: Observations of a training trajectory.
        duration: Length of a training trajectory.
        eval_duration: Length of a trajectory of evaluation.
        **kwargs: See `SystemDataModule`.
    """

    card = HNN_THREE_BODY

    def __init__(
        self,
        trajectories: int = 4000,
        test_trajectories: int = 15,
        points: int = 20,
        duration: float = 5.0,
        eval_duration: float = 3.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            trajectories=trajectories,
            test_trajectories=test_trajectories,
            points=points,
            duration=duration,
            eval_duration=eval_duration,
            **kwargs,
        )

    def points_of(self, split: str) -> int:
        """500 in evaluation."""
        return self.points if split == "train" else 500

    def draw(self, rng: np.random.Generator, n: int) -> tuple[Array, Array, Array]:
        """Speeds of circular orbits; see `ThreeBody.draw`."""
        radius, angle, _ = super().draw(rng, n)
        return radius, angle, np.ones((n, 3))

    def start(self, rng: np.random.Generator, n: int) -> Array:
        """See `SystemDataModule.start`."""
        x = super().start(rng, n)
        x[:, 6:] *= rng.uniform(0.8, 1.2, (n, 6))
        return x
