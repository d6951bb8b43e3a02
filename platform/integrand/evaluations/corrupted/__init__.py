"""Fifteen common corruptions of images at five severities, in the style of CIFAR-10-C, written in torch.

The kinds and most constants are those of Hendrycks and Dietterich (2019). Nothing here equals their files:
frost needs no photographs, snow and motion no ImageMagick, every constant grows with the severity, lengths
in pixels are those of 32×32 images and are scaled to the side, and what is random follows from seed, kind
and number of an image alone.
"""

from .apply import KINDS, SEVERITIES, corrupt

__all__ = ["KINDS", "SEVERITIES", "corrupt"]
