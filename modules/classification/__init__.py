"""The shared bench of image classification: stem, head and fields around the dynamics of a family."""

from .dynamics import Dynamics
from .layout import Stage
from .module import ImageClassifier
from .net import ClassifierNet
from .noise import Noise

__all__ = [
    "ClassifierNet",
    "Dynamics",
    "ImageClassifier",
    "Noise",
    "Stage",
]
