"""The split of the user's samples: as folders, keys or a column say, else by shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from integrand.errors import UsageError

from ..images.split import stratified
from .answers import Rows, listed

PARTS = ("train", "val", "test")
_SPELLED = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip


def part_of(word: str) -> str:
    """The part that a folder, key or cell names; empty where it names none."""
    return _SPELLED.get(word.strip().casefold(), "")


@dataclass(frozen=True)
class Shares:
    """Shares that are held out where the data do not say.

    Args:
        val: Share of all samples that validates.
        test: Share of all samples that tests.
        seed: Chooses them.

    Raises:
        UsageError: They leave nothing to train on.
    """

    val: float = 0.15
    test: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        if not (self.val > 0 and self.test > 0 and self.val + self.test < 1):
            raise UsageError(
                f"val_fraction={self.val} and test_fraction={self.test} do not split samples",
                "give positive shares that sum to less than 1",
            )


def split(
    n: int, named: Sequence[str] | None, labels: Rows | None, shares: Shares, where: str
) -> tuple[dict[str, Rows], str]:
    """Rows of each part, and a line that says how they were chosen.

    Args:
        n: Number of samples.
        named: The part of each sample where the data say it; parts that nobody names are held out of `train`.
        labels: The class of each sample, each of which keeps its share; None where there are none.
        shares: Shares that are held out.
        where: The file, for errors.

    Raises:
        UsageError: A part would have no samples.
    """
    kinds = np.zeros(n, dtype=np.int64) if labels is None else labels
    parts = {part: np.flatnonzero([name == part for name in named or ()]) for part in PARTS}
    rest = parts["train"] if named is not None else np.arange(n)
    if not len(rest):
        raise UsageError(f"{where}: no sample is in train", "name a part train, or none of them")
    held = []
    for part, share, seed in (("test", shares.test, shares.seed), ("val", shares.val, shares.seed + 1)):
        if not len(parts[part]):
            size = max(1, round(share * (n if named is None else len(parts["train"]))))
            if size >= len(rest):
                raise UsageError(f"{where}: {n} samples are too few to split", "give ten or more")
            kept, out = stratified(kinds[rest], size, seed)
            rest, parts[part] = rest[kept], rest[out]
            held.append(part)
    parts["train"] = rest
    counts = ", ".join(f"{len(parts[part])} {part}" for part in PARTS)
    how = f"; {' and '.join(reversed(held))} held out by data.split_seed {shares.seed}" if held else ""
    return parts, f"{counts}{how}"


def check_classes(parts: dict[str, Rows], labels: Rows, names: Sequence[str], where: str) -> list[str]:
    """Every class has to be trained on; lines about parts that lack one.

    Raises:
        UsageError: A class is in no training sample.
    """
    present: dict[str, Rows] = {part: np.unique(labels[rows]) for part, rows in parts.items()}
    for part in ("val", "test"):
        unknown = [names[i] for i in np.setdiff1d(present[part], present["train"])]
        if unknown:
            raise UsageError(
                f"{where}: {part} has samples of class {listed(unknown)}, and train has none",
                "spell classes alike in all parts, and give three samples or more of each",
            )
    said = []
    for part in ("val", "test"):
        absent = [names[i] for i in np.setdiff1d(present["train"], present[part])]
        if absent:
            said.append(f"{where}: {part} has no sample of class {listed(absent)}")
    return said
