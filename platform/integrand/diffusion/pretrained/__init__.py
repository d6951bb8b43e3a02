"""Models that were trained elsewhere, as samplers here take them."""

from .folder import Pretrained, load_diffusers
from .grid import SchedulerGrid

__all__ = ["Pretrained", "SchedulerGrid", "load_diffusers"]
