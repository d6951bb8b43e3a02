"""The networks of generative models: functions of time and state, built for the shape of the data."""

from .base import Backbone, TimeNet, default_backbone
from .conv import Conv
from .mlp import MLP

__all__ = ["MLP", "Backbone", "Conv", "TimeNet", "default_backbone"]
