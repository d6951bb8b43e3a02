"""The `.ts` files of the time series archives (Bagnall et al. 2018, The UEA multivariate archive)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from integrand.errors import DataError

from ..series.recording import Recording
from .packed import Arrays, counted, pack

Member = Callable[[str], bytes]
SPLITS = {"train": "TRAIN", "test": "TEST"}


def members(name: str) -> tuple[str, ...]:
    """The files of a set with an official split."""
    return tuple(f"{name}_{end}.ts" for end in SPLITS.values())


def reader(name: str) -> Callable[[Member], Arrays]:
    """A reader of the set of that name."""

    def read(member: Member) -> Arrays:
        arrays: Arrays = {}
        for split, file in zip(SPLITS, members(name), strict=True):
            arrays |= pack(split, parse(member(file).decode("utf-8"), file))
        return arrays

    return read


def parse(text: str, where: str) -> list[Recording]:
    """The series of one file, their labels numbered in the order in which the header names them.

    A line is one series: its channels with `:` between them, the label last.

    Raises:
        DataError: It is no such file, or one with time stamps or without classes, which no set here has.
    """
    header, _, body = text.replace("\r\n", "\n").partition("\n@data\n")
    words = [line.split() for line in header.splitlines() if line.startswith("@")]
    tags = {tag[1:].lower(): rest for tag, *rest in words}
    labels = tags.get("classlabel", ["false"])
    if not body or labels[0] != "true" or tags.get("timestamps", ["false"])[0] != "false":
        raise DataError(f"{where} is no .ts file with classes and without time stamps", _AGAIN)
    numbers = {label: i for i, label in enumerate(labels[1:])}
    return [_series(line, numbers, f"{where}, series {i + 1}") for i, line in enumerate(body.split())]


def _series(line: str, numbers: dict[str, int], where: str) -> Recording:
    *channels, label = line.split(":")
    try:
        rows = [_channel(channel) for channel in channels]
        return counted(np.stack(rows, axis=1), numbers[label])
    except (ValueError, KeyError) as error:
        raise DataError(
            f"{where}: channels of unequal length, no number or no class: {error}", _AGAIN
        ) from error


def _channel(text: str) -> npt.NDArray[np.float64]:
    return np.array([np.nan if x == "?" else float(x) for x in text.split(",")])


_AGAIN = "delete it and fetch it again"
