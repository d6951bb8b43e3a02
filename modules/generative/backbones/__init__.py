"""The networks of generative models: functions of time and state, built for the shape of the data."""

from .base import Backbone, TimeNet
from .conv import Conv
from .default import default_backbone
from .dit import DiT
from .mlp import MLP
from .unet import UNet

__all__ = ["MLP", "Backbone", "Conv", "DiT", "TimeNet", "UNet", "default_backbone"]
