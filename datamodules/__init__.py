"""Data sets: cards without torch, Lightning datamodules on demand.

Importing this package loads no torch; naming a class (`from integrand.datamodules import FashionMini`) does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .card import DataCard, PackagedFile, Source
from .registry import builtin_cards, cards, find_card, load_all, load_class

if TYPE_CHECKING:
    from .base import DataModule
    from .densities.base import DensityDataModule
    from .densities.checkerboard import Checkerboard
    from .densities.circles import Circles
    from .densities.eight_gaussians import EightGaussians
    from .densities.pinwheel import Pinwheel
    from .densities.swiss_roll import SwissRoll
    from .densities.two_moons import TwoMoons
    from .images.animal_shapes import AnimalShapes
    from .images.augment import Augmentation, Cutout, HorizontalFlip, RandomCrop
    from .images.base import ImageDataModule
    from .images.cifar10 import CIFAR10
    from .images.cifar100 import CIFAR100
    from .images.digits import Digits
    from .images.emnist import EMNIST
    from .images.fashion_mini import FashionMini
    from .images.fashion_mnist import FashionMNIST
    from .images.kmnist import KMNIST
    from .images.mnist import MNIST
    from .images.svhn import SVHN
    from .own.arrays import Arrays
    from .own.base import OwnDataModule
    from .own.csv_table import CSVTable
    from .own.hugging_face import HuggingFace
    from .own.image_folder import ImageFolder
    from .series.base import SeriesDataModule
    from .series.basic_motions import BasicMotions
    from .series.beijing_pm25 import BeijingPM25
    from .series.forecasts import ForecastDataModule
    from .series.glucose import Glucose
    from .series.hare_lynx import HareLynx
    from .series.hopper import Hopper
    from .series.japanese_vowels import JapaneseVowels
    from .series.mocap import Mocap
    from .series.own.csv_trajectories import CSVTrajectories
    from .series.own.series_frame import SeriesFrame
    from .series.pbc import PBC
    from .series.person_activity import PersonActivity
    from .series.physionet2012 import PhysioNet2012
    from .series.planets import Planets
    from .series.santa_fe_laser import SantaFeLaser
    from .series.ucr import UCR
    from .vectors.base import VectorDataModule
    from .vectors.breast_cancer import BreastCancer
    from .vectors.concentric_annuli import ConcentricAnnuli
    from .vectors.crossing_map import CrossingMap
    from .vectors.diabetes import Diabetes
    from .vectors.two_spirals import TwoSpirals
    from .vectors.wine import Wine

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "EMNIST",
    "KMNIST",
    "MNIST",
    "PBC",
    "SVHN",
    "UCR",
    "AnimalShapes",
    "Arrays",
    "Augmentation",
    "BasicMotions",
    "BeijingPM25",
    "BreastCancer",
    "CSVTable",
    "CSVTrajectories",
    "Checkerboard",
    "Circles",
    "ConcentricAnnuli",
    "CrossingMap",
    "Cutout",
    "DataCard",
    "DataModule",
    "DensityDataModule",
    "Diabetes",
    "Digits",
    "EightGaussians",
    "FashionMNIST",
    "FashionMini",
    "ForecastDataModule",
    "Glucose",
    "HareLynx",
    "Hopper",
    "HorizontalFlip",
    "HuggingFace",
    "ImageDataModule",
    "ImageFolder",
    "JapaneseVowels",
    "Mocap",
    "OwnDataModule",
    "PackagedFile",
    "PersonActivity",
    "PhysioNet2012",
    "Pinwheel",
    "Planets",
    "RandomCrop",
    "SantaFeLaser",
    "SeriesDataModule",
    "SeriesFrame",
    "Source",
    "SwissRoll",
    "TwoMoons",
    "TwoSpirals",
    "VectorDataModule",
    "Wine",
    "builtin_cards",
    "cards",
    "find_card",
    "load_all",
    "load_class",
]

# what is no data set of its own, and the module that defines it
_SHARED = {
    "Augmentation": ".images.augment",
    "Cutout": ".images.augment",
    "HorizontalFlip": ".images.augment",
    "RandomCrop": ".images.augment",
    "DataModule": ".base",
    "DensityDataModule": ".densities.base",
    "ImageDataModule": ".images.base",
    "ForecastDataModule": ".series.forecasts",
    "SeriesDataModule": ".series.base",
    "SeriesFrame": ".series.own.series_frame",
    "OwnDataModule": ".own.base",
    "VectorDataModule": ".vectors.base",
}


def __getattr__(name: str) -> Any:
    """Import a class when it is first named (PEP 562)."""
    from importlib import import_module

    if name in _SHARED:
        return getattr(import_module(_SHARED[name], __name__), name)
    if not name.startswith("_"):
        for card in builtin_cards().values():
            if card.class_name == name:
                return load_class(card)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Also the names that are not loaded yet."""
    return sorted({*globals(), *__all__})
