"""Arrays of numbers in .npy and .npz files and folders of them; nothing is unpickled."""

from __future__ import annotations

import math
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from integrand.errors import UsageError

from .answers import listed

Array = npt.NDArray[Any]
LARGEST = 1 << 32
"""Bytes of the arrays of one .npz, which have to be unpacked into memory; a .npy stays on disk."""
_WANTED = "give numbers in .npz or .npy: numpy.savez(path, x=…, y=…)"
_NUMBERS = "biuf"


def read_arrays(path: str) -> dict[str, Array]:
    """The arrays of a file or folder by name; those of .npy files stay on disk.

    Raises:
        UsageError: There are none, or one is damaged or holds Python objects.
    """
    place = Path(path).expanduser()
    try:
        if place.is_dir():
            found = _folder(place)
        elif not place.is_file():
            raise UsageError(f"{path} is not there", "give a .npz, a .npy or a folder of them: set data.path")
        elif place.suffix.casefold() == ".npy":
            found = {place.stem: _npy(place)}
        else:
            found = _npz(place)
    except UsageError:
        raise
    except Exception as error:  # damaged bytes can fail in any way
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise UsageError(f"{path} cannot be read as arrays: {first}", _WANTED) from error
    if not found:
        raise UsageError(f"{path} holds no arrays", _WANTED)
    return found


def _folder(folder: Path) -> dict[str, Array]:
    found: dict[str, Array] = {}
    for file in sorted(folder.iterdir()):
        if file.suffix.casefold() == ".npy":
            found[file.stem] = _npy(file)
        elif file.suffix.casefold() == ".npz":
            found |= {f"{file.stem}_{name}": array for name, array in _npz(file).items()}
    return found


def _npy(file: Path) -> Array:
    with file.open("rb") as opened:
        _checked(opened, f"{file}", file.stat().st_size)
    array: Array = np.load(file, mmap_mode="r", allow_pickle=False)
    return array


def _npz(file: Path) -> dict[str, Array]:
    with zipfile.ZipFile(file) as archive:
        size = sum(part.file_size for part in archive.infolist())
        if size > LARGEST:
            raise UsageError(
                f"{file} unfolds to {size / 1e9:.1f} GB", "save each array as .npy: it is read where it lies"
            )
        for part in archive.infolist():
            with archive.open(part) as opened:
                _checked(opened, f"{file}, {part.filename}", part.file_size)
    with np.load(file, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _checked(opened: IO[bytes], where: str, size: int) -> None:
    """Refuse Python objects, and a header that promises more than there is: room would be made for it."""
    version = np.lib.format.read_magic(opened)
    # the later versions differ in the length of the header alone, which 2.0 can hold
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = header(opened)
    if dtype.hasobject:
        raise UsageError(f"{where} holds Python objects, which are not unpickled", _WANTED)
    if math.prod(shape) * dtype.itemsize > size:
        raise UsageError(f"{where} is cut short: {shape} does not fit into {size} bytes", "write it again")


_USUAL = {
    "x": ("x", "images", "image", "inputs", "features", "data", "arr_0", "samples"),
    "y": ("y", "labels", "label", "targets", "target", "classes", "arr_1"),
    "id": ("id", "ids", "names", "filenames"),
}
_SPLIT = re.compile(
    r"^(?:(train|val|valid|validation|test)_?(.+)|(.+?)_?(train|val|valid|validation|test))$", re.I
)


def choose(
    arrays: Mapping[str, Array], inputs: str, answers: str, where: str
) -> tuple[dict[str, dict[str, str]], str]:
    """The key of inputs, answers and ids by part; the part is empty where keys name none.

    Args:
        arrays: Arrays by key.
        inputs: Key of the inputs as the user says; empty to guess.
        answers: Key of the answers as the user says; empty to guess.
        where: The file, for errors.

    Returns:
        Keys by part and role, and a line that says what was guessed; empty where nothing was.

    Raises:
        UsageError: A key is not there, or the inputs cannot be guessed.
    """
    split = {key: _split(key) for key in arrays}
    roots = {root for _, root in split.values()}
    wanted = {"x": inputs, "y": answers, "id": ""}
    for option, key in (("data.inputs", inputs), ("data.answers", answers)):
        if key and key not in arrays and key not in roots:
            raise UsageError(f"{where} has no array {key!r}: set {option}", f"it has {listed(list(arrays))}")
    found = _matched(split, wanted)
    if "x" not in {role for keys in found.values() for role in keys} and len(arrays) == 1 and not inputs:
        found[""] = {"x": next(iter(arrays))}
    parts = {part: keys for part, keys in found.items() if "x" in keys}
    if not parts:
        raise UsageError(
            f"{where}: none of its arrays {listed(list(arrays))} is called like inputs",
            "name it: set data.inputs",
        )
    if "" in parts and len(parts) > 1:
        parts = {part: keys for part, keys in parts.items() if part} if "train" in parts else {"": parts[""]}
    said = "; ".join(
        f"{part or 'all'}: inputs {keys['x']}, answers {keys.get('y', 'none')}"
        for part, keys in parts.items()
    )
    return parts, "" if inputs and answers else f"{where}, arrays guessed: {said} (data.inputs, data.answers)"


def _matched(split: Mapping[str, tuple[str, str]], wanted: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Keys by part and role, as they are wanted or usually called."""
    found: dict[str, dict[str, str]] = {}
    for role, usual in _USUAL.items():
        names = (wanted[role],) if wanted[role] else usual
        for key, (part, root) in split.items():
            alone = key in names
            if alone or (part and root.casefold() in names):
                found.setdefault("" if alone else part, {}).setdefault(role, key)
    return found


def _split(key: str) -> tuple[str, str]:
    """The part that a key names, and the rest of it."""
    match = _SPLIT.match(key)
    if match is None:
        return "", key
    part = (match[1] or match[4]).casefold()
    return {"valid": "val", "validation": "val"}.get(part, part), match[2] or match[3]


def check_numbers(array: Array, where: str) -> None:
    """Refuse what is no array of numbers.

    Raises:
        UsageError: It holds something else.
    """
    if array.dtype.kind not in _NUMBERS:
        raise UsageError(f"{where} holds {array.dtype}, no numbers", "save it as uint8 or float32")
