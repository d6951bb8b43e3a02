"""Where a data set is on this machine, and reading it from there.

The order is fixed: the folder the user names, `$INTEGRAND_DATA`, system folders, the cache, installed
packages. Every place holds the same content, as the digest proves; nothing is replaced by something else.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from integrand.errors import DataError

from ..card import DataCard
from ..formats import FORMATS, Arrays, Member, npz
from .cache import cache_folder
from .digests import Digests, check, content_digests

Kind = Literal["local", "system", "cache", "package"]


@dataclass(frozen=True)
class Place:
    """A folder or file that holds a data set.

    Args:
        kind: Which step of the order found it.
        path: The folder of the members, or the npz file.
        format: How to read it: `npz` or a key of FORMATS.
    """

    kind: Kind
    path: Path
    format: str


@dataclass(frozen=True)
class Loaded:
    """A data set in memory, its content digests, and where it was."""

    arrays: Arrays
    digests: Digests
    place: Place


def locate(card: DataCard, data_dir: str | os.PathLike[str] | None = None) -> Place | None:
    """The first place that has the files of a data set; nothing is read yet.

    Args:
        card: The data set.
        data_dir: A folder named by the user, searched before all others.

    Raises:
        DataError: `data_dir` does not exist.
    """
    return next(_places(card, data_dir), None)


def load(card: DataCard, place: Place, verify: bool = True) -> Loaded:
    """Read a data set and take its digests.

    Args:
        card: The data set.
        place: Where it is.
        verify: Compare the content with the card's digests.

    Raises:
        DataError: A file is damaged, or its content is not the published one.
    """
    with _reading(place.path):
        if place.format == "npz":
            return _load_npz(card, place, verify)
        expected = card.file_sha256 if verify else {}
        arrays = FORMATS[place.format].read(folder_member(place.path, expected))
    digests = content_digests(card, arrays)
    if verify:
        check(card, digests, str(place.path))
    return Loaded(arrays, digests, place)


def _load_npz(card: DataCard, place: Place, verify: bool) -> Loaded:
    arrays, meta = npz.read(place.path.read_bytes(), str(place.path))
    digests = content_digests(card, arrays)
    if verify:
        check(card, digests, str(place.path))
        # a set without published digests is held to those taken when its files were checked
        if not card.digests and digests != meta.get("digests"):
            raise DataError(
                f"the content in {place.path} has changed since it was stored",
                f"integrand data fetch {card.name} --force",
            )
    return Loaded(arrays, digests, place)


def _places(card: DataCard, data_dir: str | os.PathLike[str] | None) -> Iterator[Place]:
    for root in _roots(data_dir):
        for folder in (*(root / name for name in card.folders), root):
            yield from _in_folder(card, folder, "local")
    for name in card.system_folders:
        yield from _in_folder(card, Path(name), "system")
    if (cached := cache_folder() / card.file_name).is_file():
        yield Place("cache", cached, "npz")
    yield from _in_packages(card)


def _in_packages(card: DataCard) -> Iterator[Place]:
    for file in card.packaged:
        if (home := _package_folder(file.package)) is not None:
            folder = home / file.folder
            if file.format == "npz":
                if (folder / card.file_name).is_file():
                    yield Place("package", folder / card.file_name, "npz")
            elif _complete(folder, file.format):
                yield Place("package", folder, file.format)


def _roots(data_dir: str | os.PathLike[str] | None) -> list[Path]:
    """The user's own folders of data: `data_dir`, then INTEGRAND_DATA."""
    roots: list[Path] = []
    if data_dir is not None:
        root = Path(data_dir).expanduser()
        if not root.is_dir():
            raise DataError(
                f"data_dir {str(root)!r} is no folder", "name the folder that holds the data, or leave it out"
            )
        roots.append(root)
    if shared := os.environ.get("INTEGRAND_DATA"):
        roots.append(Path(shared).expanduser())
    return roots


def _in_folder(card: DataCard, folder: Path, kind: Kind) -> Iterator[Place]:
    for name in card.formats:
        if name == "npz":
            if (folder / card.file_name).is_file():
                yield Place(kind, folder / card.file_name, "npz")
        elif _complete(folder, name):
            yield Place(kind, folder, name)


def _complete(folder: Path, format: str) -> bool:
    return folder.is_dir() and all(_member_path(folder, name) is not None for name in FORMATS[format].members)


def _member_path(folder: Path, name: str) -> Path | None:
    """A member as `name`, `name.gz`, or with the dot that some mirrors put before idx."""
    spellings = (name, f"{name}.gz", name.replace("-idx", ".idx"))
    return next((folder / s for s in spellings if (folder / s).is_file()), None)


def folder_member(folder: Path, expected: Mapping[str, str]) -> Member:
    """A function that reads a member of a folder and checks its digest where one is known.

    Args:
        folder: The folder.
        expected: sha256 by member name; members without one are not checked here.
    """

    def member(name: str) -> bytes:
        path = _member_path(folder, name)
        if path is None:
            raise DataError(f"{folder} lacks {name}", "delete the folder and fetch it again")
        data = path.read_bytes()
        if name in expected and hashlib.sha256(data).hexdigest() != expected[name]:
            raise DataError(f"the sha256 of {path} is not the published one", "delete it and fetch it again")
        return data

    return member


def _package_folder(package: str) -> Path | None:
    """Folder of an installed top-level package, found without importing it."""
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return None
    homes = spec.submodule_search_locations if spec is not None else None
    return Path(next(iter(homes))) if homes else None


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals to read into a DataError."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}", "check its permissions and the disk") from error
