"""How are points distributed?"""

from __future__ import annotations

from ..spec import Spec, VectorSpec
from .base import Task


class DensityEstimation(Task):
    """The distribution of vectors, labelled or not."""

    name = "density"
    title = "how vectors are distributed"
    models = "distribution"

    @classmethod
    def asks(cls, spec: Spec) -> bool:
        """Every set of vectors: labels can be left out, or be conditions."""
        return isinstance(spec, VectorSpec)
