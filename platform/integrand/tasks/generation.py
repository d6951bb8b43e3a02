"""What do further images look like?"""

from __future__ import annotations

from ..spec import ImageSpec, Spec
from .base import Task


class Generation(Task):
    """The distribution of images, labelled or not."""

    name = "generation"
    title = "what further images look like"
    models = "distribution"

    @classmethod
    def asks(cls, spec: Spec) -> bool:
        """Every set of images: labels can be left out, or be conditions."""
        return isinstance(spec, ImageSpec)
