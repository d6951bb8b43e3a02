"""Samplers of trained generative models, over the models' seeds: what `integrand sweep-samplers` recorded."""

from .cells import Cell, SamplerComparison, SamplerPart, compare_samplers
from .load import SampleScore, load_samples

__all__ = ["Cell", "SampleScore", "SamplerComparison", "SamplerPart", "compare_samplers", "load_samples"]
