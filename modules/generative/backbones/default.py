"""The network of a generative model that names none."""

from __future__ import annotations

from .base import Backbone
from .conv import Conv
from .mlp import MLP


def default_backbone(shape: tuple[int, ...]) -> Backbone:
    """An MLP for points, convolutions for images."""
    return MLP() if len(shape) == 1 else Conv()
