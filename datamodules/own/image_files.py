"""Folders of pictures: which files there are, of which class and part, and what is in the way."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from integrand.errors import UsageError

from .answers import listed, natural
from .parts import part_of
from .pictures import is_picture


@dataclass
class Pictures:
    """Pictures in a fixed order.

    Args:
        root: The folder.
        files: Their paths.
        classes: The class of each; None where there are no classes.
        parts: The part of each; None where folders name none.
        said: Lines for the user.
    """

    root: Path
    files: list[Path]
    classes: list[str] | None = None
    parts: list[str] | None = None
    said: list[str] = field(default_factory=list)

    @property
    def ids(self) -> list[str]:
        """Paths below the folder."""
        base = self.root if self.root.is_dir() else self.root.parent
        return [file.relative_to(base).as_posix() for file in self.files]


def scan(path: str, known: Sequence[str] | None = None) -> Pictures:
    """The pictures of a folder: `class/…`, `train/class/…` with val and test, or without classes.

    Args:
        path: The folder; or one picture.
        known: The classes of a trained model: folders of other names are then no classes.

    Raises:
        UsageError: There is no such folder, no picture in it, or a class has none.
    """
    root = Path(path).expanduser()
    if root.is_file() and is_picture(root):
        return Pictures(root, [root])
    if not root.is_dir():
        what = "no folder" if root.exists() else "not there"
        raise UsageError(
            f"{path} is {what}", "give a folder with one folder of images for each class: set data.path"
        )
    other: list[Path] = []
    if known is not None:
        found = _of_known(root, known, other)
    else:
        found = _by_part(root, other) or _by_class(root, other)
    if not found.files:
        raise UsageError(
            f"{path} holds no images{_kinds(other)}", "give PNG, JPEG, WebP, BMP, GIF, TIFF or PPM"
        )
    if other:
        found.said.append(f"{path}: files that are no images are left out{_kinds(other)}")
    return found


def _by_part(root: Path, other: list[Path]) -> Pictures | None:
    """Pictures of folders that are called train, val, test; None where there are none."""
    folders = {part_of(folder.name): folder for folder in _folders(root) if part_of(folder.name)}
    if "train" not in folders:
        return None
    found = Pictures(root, [], [], [])
    assert found.classes is not None
    assert found.parts is not None
    for part, folder in folders.items():
        inside = _by_class(folder, other)
        if inside.classes is None:
            found.classes = None
        elif found.classes is not None:
            found.classes += inside.classes
        found.files += inside.files
        found.parts += [part] * len(inside.files)
        found.said += inside.said
    ignored = [f.name for f in _folders(root) if not part_of(f.name)]
    if ignored:
        found.said.append(f"{root}: {listed(ignored)} is no part of the data: train, val or test")
    return found


def _by_class(root: Path, other: list[Path]) -> Pictures:
    """Pictures by the folder they are in; without folders, without classes."""
    folders = _folders(root)
    if not folders:
        return Pictures(root, list(_pictures(root, other)))
    found = Pictures(root, [], [])
    assert found.classes is not None
    for folder in folders:
        inside = list(_pictures(folder, other))
        if not inside:
            raise UsageError(f"{folder} holds no images", "put images into it, or delete the folder")
        found.files += inside
        found.classes += [folder.name] * len(inside)
    beside = [f for f in root.iterdir() if f.is_file() and is_picture(f)]
    if beside:
        found.said.append(f"{root}: images in no class folder are left out ({len(beside)})")
    return found


def _of_known(root: Path, known: Sequence[str], other: list[Path]) -> Pictures:
    """Every picture; of the class whose name the nearest folder has, where all are in such folders."""
    found = Pictures(root, list(_pictures(root, other)))
    names = frozenset(known)
    folders = [
        next((part for part in reversed(file.relative_to(root).parts[:-1]) if part in names), "")
        for file in found.files
    ]
    if all(folders):
        found.classes = folders
    elif any(folders):
        found.said.append(
            f"{root}: not every image is in a folder of a known class; no true classes are taken"
        )
    return found


def _folders(root: Path) -> list[Path]:
    """Visible folders, in order of their names."""
    inside = [f for f in root.iterdir() if f.is_dir() and not f.name.startswith((".", "__"))]
    return sorted(inside, key=lambda f: natural(f.name))


def _pictures(folder: Path, other: list[Path]) -> Iterator[Path]:
    """Pictures at any depth, in order of their paths; other visible files go to `other`."""
    for here, inner, names in os.walk(folder):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        for name in sorted(names):
            path = Path(here, name)
            if is_picture(path):
                yield path
            elif not name.startswith("."):
                other.append(path)


def _kinds(files: Sequence[Path]) -> str:
    kinds = Counter(f.suffix.casefold() or f.name for f in files)
    return f" ({listed([f'{n} {kind}' for kind, n in kinds.most_common()])})" if kinds else ""
