"""A hopping robot that is dropped and falls to the ground, simulated by MuJoCo."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from integrand.errors import DataError, UsageError

from ..trajectories.cache import kept
from .forecasts import ForecastDataModule
from .record_cards import HOPPER
from .recording import Recording

_SEEDS = {"train": 0, "val": 1, "test": 2}
_SIZE = 7  # positions, and as many velocities


class Hopper(ForecastDataModule):
    """Positions and velocities of the planar hopper of dm_control, thrown at random and not steered.

    Horizontal position and height start in [0, ½], angles in [−2, 2], velocities in [−5, 5], after Rubanova,
    Chen and Duvenaud (2019), section 4.2. By default the first half of a fall is given and the second asked
    for. Contacts with the ground make the law non-smooth. Needs `pip install 'integrand[hopper]'`.

    Args:
        trajectories: Falls of the training split.
        val_trajectories: Those of the validation split.
        test_trajectories: Those of the test split.
        points: Observations of a fall, 5 ms apart.
        data_seed: Seed of the throws; leave it fixed to compare runs of different seeds.
        context: Observations given.
        horizon: Observations asked for.
        **kwargs: See `ForecastDataModule`.

    Raises:
        UsageError: A number is out of its domain.
    """

    card = HOPPER

    def __init__(
        self,
        trajectories: int = 400,
        val_trajectories: int = 50,
        test_trajectories: int = 100,
        points: int = 200,
        data_seed: int = 0,
        context: int = 100,
        horizon: int = 100,
        **kwargs: Any,
    ) -> None:
        super().__init__(context=context, horizon=horizon, **kwargs)
        self.counts = {"train": trajectories, "val": val_trajectories, "test": test_trajectories}
        if min(self.counts.values()) < 1 or points <= context:
            raise UsageError(
                f"{min(self.counts.values())} trajectories of {points} points with {context} given",
                "give 1 or more, and more points than are given",
            )
        self.points, self.data_seed = points, data_seed

    def recordings(self) -> dict[str, list[Recording]]:
        """See `SeriesDataModule.recordings`.

        Raises:
            DataError: MuJoCo or the robot's description is not installed.
        """
        return {split: self._falls(split) for split in self.counts}

    def _falls(self, split: str) -> list[Recording]:
        seeds = [_SEEDS[split], self.data_seed, 20190702]
        said = json.dumps([self.counts[split], self.points, seeds])
        key = hashlib.sha256(said.encode()).hexdigest()

        def make() -> dict[str, npt.NDArray[np.float64]]:
            rng = np.random.Generator(np.random.PCG64(seeds))
            low = np.repeat([0.0, -2.0, -5.0], [2, _SIZE - 2, _SIZE])
            high = np.repeat([0.5, 2.0, 5.0], [2, _SIZE - 2, _SIZE])
            return {"states": fall(rng.uniform(low, high, (self.counts[split], 2 * _SIZE)), self.points)}

        states = kept(self.card.name, key, make)["states"]
        times = np.arange(self.points, dtype=np.float64) * 0.005
        return [Recording(times, x, name=f"{split} fall {i + 1}") for i, x in enumerate(states)]


def fall(starts: npt.NDArray[np.float64], points: int) -> npt.NDArray[np.float64]:
    """States of falls, shape (n, points, 14), by steps of 5 ms.

    Args:
        starts: Positions and velocities at the beginning, shape (n, 14).
        points: States of each fall, the first included.

    Raises:
        DataError: MuJoCo or the robot's description is not installed.
    """
    mujoco, description = _installed()
    model = mujoco.MjModel.from_xml_path(str(description))
    data = mujoco.MjData(model)
    states = np.empty((len(starts), points, 2 * _SIZE))
    for start, found in zip(starts, states, strict=True):
        mujoco.mj_resetData(model, data)
        data.qpos[:], data.qvel[:] = np.split(start, 2)
        for state in found:
            state[:_SIZE], state[_SIZE:] = data.qpos, data.qvel
            mujoco.mj_step(model, data)
    return states


def _installed() -> tuple[Any, Path]:
    """MuJoCo, and the file that describes the robot; dm_control itself is not imported."""
    spec = importlib.util.find_spec("dm_control")
    homes = list(spec.submodule_search_locations or ()) if spec is not None else []
    try:
        import mujoco

        return mujoco, Path(homes[0]) / "suite" / "hopper.xml"
    except (ImportError, IndexError) as error:
        raise DataError(
            "Hopper is simulated by MuJoCo, which is not installed", "pip install 'integrand[hopper]'"
        ) from error
