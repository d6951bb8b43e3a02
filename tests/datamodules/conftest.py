"""Small made data sets in every layout, and a cache of their own for every test."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from integrand.datamodules import find_card
from integrand.datamodules.acquire.digests import content_digests
from integrand.datamodules.images.base import ImageDataModule


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """The cache folder of this test; nothing is found anywhere else."""
    for name in ("INTEGRAND_DATA", "XDG_CACHE_HOME", "PL_GLOBAL_SEED"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("INTEGRAND_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "data"


def make_arrays(shape, classes, train, test, seed=0):
    """Random images with every class, as a reader returns them."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for split, n in (("train", train), ("test", test)):
        arrays[f"{split}_images"] = rng.integers(0, 256, (n, *shape), dtype=np.uint8)
        arrays[f"{split}_labels"] = (np.arange(n) % classes).astype(np.uint8)
    return arrays


def _load_made_files():
    # in pytest's importlib mode test folders are no packages, so a helper module is loaded by its path
    spec = importlib.util.spec_from_file_location("made_files", Path(__file__).with_name("made_files.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def made():
    """Writers of every published layout."""
    return _load_made_files()


def make_small(name, train, test, **changes):
    """The card of a data set shrunk to made arrays, and those arrays."""
    card = find_card(name)
    arrays = make_arrays(card.spec.input_shape, card.spec.num_classes, train, test)
    card = replace(card, counts={"train": train, "test": test}, system_folders=(), packaged=(), **changes)
    if card.digests:
        card = replace(card, digests=content_digests(card, arrays))
    return card, arrays


@pytest.fixture
def small():
    """(name, train, test, **changes) -> (card, arrays) of a data set shrunk to made arrays."""
    return make_small


@pytest.fixture
def fashion():
    """(card, arrays) of a Fashion-MNIST of 60 + 20 images."""
    return make_small("fashion-mnist", 60, 20)


@pytest.fixture
def cifar10():
    """(card, arrays) of a CIFAR-10 of 50 + 10 images."""
    return make_small("cifar10", 50, 10)


@pytest.fixture
def cifar100():
    """(card, arrays) of a CIFAR-100 of 200 + 100 images; its file digests are set by who writes the files."""
    return make_small("cifar100", 200, 100)


@pytest.fixture
def module_for():
    """Card -> datamodule class."""

    def make(made_card):
        class Made(ImageDataModule):
            card = made_card

        return Made

    return make
