"""The times that a scheduler of diffusers steps through."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..errors import GridError
from ..grids import TimeGrid
from ..processes import EDM, DiscreteVP, LinearFlow, Process
from .library import require_diffusers

_RESPACED = ("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "use_lu_lambdas")


class SchedulerGrid(TimeGrid):
    """Where a scheduler's config puts its steps: spacing, offset, levels, and its end at the data or at step
    0.

    Args:
        config: The scheduler's config, with `_class_name`.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self.config, self.name = config, str(config["_class_name"])
        # as its constructor fills it in
        made = getattr(require_diffusers(), self.name).from_config(config)
        super().__init__(to_zero=_ends_at_the_data(made.config, self.name))

    def times(self, process: Process, steps: int) -> Tensor:
        """See `TimeGrid`; the times of `steps` evaluations.

        Raises:
            GridError: The scheduler's levels do not decrease, or the process is of another kind.
        """
        made = getattr(require_diffusers(), self.name).from_config(self.config)
        made.set_timesteps(steps)
        if isinstance(process, (EDM, LinearFlow)):
            times = torch.as_tensor(made.sigmas, dtype=torch.float64)
            return times[:-1] if not self.to_zero else times
        if not isinstance(process, DiscreteVP):
            raise GridError(f"{process.describe()} has no steps of {self.name}", "take another grid")
        if any(made.config.get(name) for name in _RESPACED):
            levels = sorted({float(level) for level in made.sigmas if level > 0}, reverse=True)
            known = torch.tensor(levels, dtype=torch.float64)
            times = process.time(-known.log()).clamp(max=process.t_max)
        else:
            times = process.time_of_index(torch.tensor(_steps(made, self.name, process.num_steps, steps)))
        end = 0.0 if self.to_zero else process.t_min
        return torch.cat((times[times > end], torch.tensor([end], dtype=torch.float64)))

    def ends(self, process: Process) -> tuple[float, float]:
        """First and last time of ten steps."""
        times = self.times(process, 10)
        return float(times[0]), float(times[-1 - self.to_zero])

    def spaced(self, process: Process, start: float, end: float, steps: int) -> Tensor:
        """Not spaced: see `times`."""
        return self.times(process, steps)

    def describe(self) -> str:
        """The scheduler's name."""
        return f"grid of {self.name}"


def _ends_at_the_data(config: Any, name: str) -> bool:
    """Whether the last step goes on to level 0, not to step 0."""
    if name in ("DDIMScheduler", "PNDMScheduler"):
        return bool(config.get("set_alpha_to_one"))
    if name == "DEISMultistepScheduler":
        return False
    return str(config.get("final_sigmas_type", "zero")) == "zero"


def _steps(made: Any, name: str, total: int, steps: int) -> list[float]:
    """Steps in order, each once; PNDM's own list holds the stages of its start too."""
    if name == "PNDMScheduler":
        return [float(k * (total // steps) + made.config.steps_offset) for k in reversed(range(steps))]
    return sorted({float(k) for k in made.timesteps}, reverse=True)
