"""Two days in intensive care, one text file for each patient (Silva et al. 2012)."""

from __future__ import annotations

import csv
import io
import tarfile
from collections.abc import Iterator

import numpy as np

from integrand.errors import DataError

from ..series.recording import Recording
from .guards import AGAIN, Arrays, Member, damaged, gunzip
from .packed import pack

SETS = {"train": "a", "test": "b"}
MEMBERS = tuple(
    f"{name}-{s}{end}" for s in SETS.values() for name, end in (("set", ".tar.gz"), ("Outcomes", ".txt"))
)
CHANNELS = (
    "Albumin", "ALP", "ALT", "AST", "Bilirubin", "BUN", "Cholesterol", "Creatinine", "DiasABP", "FiO2", "GCS",
    "Glucose", "HCO3", "HCT", "HR", "K", "Lactate", "Mg", "MAP", "MechVent", "Na", "NIDiasABP", "NIMAP",
    "NISysABP", "PaCO2", "PaO2", "pH", "Platelets", "RespRate", "SaO2", "SysABP", "Temp", "TroponinI",
    "TroponinT", "Urine", "WBC", "Weight",
)  # fmt: skip
UNITS = 4  # kinds of intensive care
_GENERAL = ("Age", "Gender", "Height", "ICUType")
_COLUMN = {name: i for i, name in enumerate(CHANNELS)}
_LARGEST = 1 << 20  # a patient's file has some 10 kB


def read(member: Member) -> Arrays:
    """Set A to train on and set B to test on, in the order of the patients' numbers.

    What is known of a patient as a whole is age (in units of 15 years around 65), sex (1 for men, ½ where it
    is not said), height (in units of 10 cm around 170, 0 where it is not said) and the kind of care, one of
    four.
    """
    arrays: Arrays = {}
    for split, letter in SETS.items():
        archive, outcomes = f"set-{letter}.tar.gz", f"Outcomes-{letter}.txt"
        died = _outcomes(member(outcomes), outcomes)
        patients = [
            parse(text, number, died[number], f"{archive}, {number}.txt")
            for number, text in sorted(_files(member(archive), archive))
            if number in died
        ]
        if len(patients) != len(died):
            raise DataError(f"{archive} lacks {len(died) - len(patients)} patients of {outcomes}", AGAIN)
        arrays |= pack(split, patients)
        arrays[f"{split}_values"] = arrays[f"{split}_values"].astype(np.float32)
    return arrays


def parse(text: str, number: int, died: int, where: str) -> Recording:
    """The measurements of one patient, those of one minute together; times in hours.

    Of two values of one minute the later in the file stays. A patient without any gets an empty observation.

    Raises:
        DataError: It is no such file.
    """
    rows: dict[float, list[float]] = {}
    general: dict[str, float] = {}
    try:
        for time, name, value in list(csv.reader(io.StringIO(text)))[1:]:
            hours, minutes = time.split(":")
            at = int(hours) + int(minutes) / 60
            if name in _GENERAL:
                general[name] = float(value)
            elif name in _COLUMN and float(value) != -1:  # -1 says that it is not known
                rows.setdefault(at, [np.nan] * len(CHANNELS))[_COLUMN[name]] = float(value)
    except ValueError as error:
        raise DataError(f"{where} is no record of a patient: {error}", AGAIN) from error
    rows = rows or {0.0: [np.nan] * len(CHANNELS)}
    times = sorted(rows)
    return Recording(
        np.array(times), np.array([rows[t] for t in times]), _static(general), died, name=f"patient {number}"
    )


def _static(general: dict[str, float]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    age, sex, height, kind = (general.get(name, -1.0) for name in _GENERAL)
    return np.array(
        [
            (age - 65) / 15 if age >= 0 else 0.0,
            sex if sex >= 0 else 0.5,
            (height - 170) / 10 if height > 0 else 0.0,
            *(float(kind == k + 1) for k in range(UNITS)),
        ]
    )


def _outcomes(data: bytes, where: str) -> dict[int, int]:
    """Whether each patient died in hospital."""
    try:
        rows = list(csv.DictReader(io.StringIO(data.decode("ascii"))))
        return {int(row["RecordID"]): int(row["In-hospital_death"]) for row in rows}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{where} is no table of outcomes: {error}", AGAIN) from error


def _files(data: bytes, where: str) -> Iterator[tuple[int, str]]:
    """Number and text of each patient's file."""
    try:
        with tarfile.open(fileobj=io.BytesIO(gunzip(data, where)), mode="r:") as archive:
            for info in archive:
                stem, _, end = info.name.rpartition("/")[2].rpartition(".")
                if info.isreg() and end == "txt" and stem.isdigit() and info.size < _LARGEST:
                    file = archive.extractfile(info)
                    assert file is not None  # isreg() above
                    yield int(stem), file.read().decode("ascii")
    except (UnicodeDecodeError, tarfile.TarError) as error:
        raise damaged(where, error) from error
