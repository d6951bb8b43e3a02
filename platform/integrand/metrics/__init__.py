"""How far samples are from data. Imports torch, NumPy, and of Integrand its errors and signatures alone."""

from .classifier import Extractor, FeatureNet, extractor
from .frechet import frechet_distance, frechet_of_moments
from .inception import InceptionFeatures, inception_distance
from .kernel_distance import kernel_distance
from .mmd import mmd2
from .neighbours import density_coverage, precision_recall
from .wasserstein import exact_w2, sliced_w2, sliced_w2_with_error

__all__ = [
    "Extractor",
    "FeatureNet",
    "InceptionFeatures",
    "density_coverage",
    "exact_w2",
    "extractor",
    "frechet_distance",
    "frechet_of_moments",
    "inception_distance",
    "kernel_distance",
    "mmd2",
    "precision_recall",
    "sliced_w2",
    "sliced_w2_with_error",
]
