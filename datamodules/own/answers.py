"""What is asked about the user's samples: classes or numbers, as their answers look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from integrand.errors import UsageError
from integrand.spec import Classes, Density, Question, Targets

from ..finite import is_usable

Asked = Literal["auto", "classes", "targets"]
Rows = npt.NDArray[np.int64]

FEW = 20
"""Whole numbers of so few different values are taken for classes."""
_LISTED = 6


@dataclass(frozen=True)
class Answers:
    """The true answers as they stand in the data.

    Args:
        values: Texts or numbers, shape (n,), or numbers (n, targets).
        names: Name of each target; one where there is one column.
        classes: Names of the classes 0, 1, … where the data themselves say them.
    """

    values: npt.NDArray[Any]
    names: tuple[str, ...]
    classes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.values)


def natural(word: str) -> tuple[int, float, str]:
    """A key that sorts numbers in their order, words after them."""
    try:
        number = float(word)
    except ValueError:
        return 1, 0.0, word
    return (0, number, word) if np.isfinite(number) else (1, 0.0, word)


def words(values: npt.NDArray[Any]) -> list[str]:
    """Values as text; whole numbers without a decimal point, nothing where nothing stands."""
    return [_word(v) for v in values.tolist()]


def _word(value: Any) -> str:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def listed(names: Sequence[str]) -> str:
    """The first of some names."""
    more = f", … ({len(names)} in all)" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def question_of(answers: Answers | None, asked: Asked, where: str) -> tuple[Question, str]:
    """The question, its targets without scales yet, and a line that says why where that was a guess.

    Args:
        answers: The true answers; None where there are none.
        asked: What the user says.
        where: The file, for errors.

    Raises:
        UsageError: There is one class or one value only, an answer is missing, or numbers are wanted of text.
    """
    if answers is None:
        return Density(), f"{where}: no answers, so the distribution of the samples is asked for"
    _refuse_missing(answers, where)
    of_classes, why = _of_classes(answers, asked, where)
    if not of_classes:
        return _targets(answers, where), why
    names = answers.classes or tuple(sorted(set(words(answers.values)), key=natural))
    if len(names) < 2:
        raise UsageError(
            f"{where}: every sample is of class {names[0]!r}", "give samples of two classes or more"
        )
    return Classes(len(names), names), why


def encoded(answers: Answers, question: Question, where: str) -> npt.NDArray[Any]:
    """Answers as the question numbers them: int64 (n,) of classes, float64 (n, targets) in raw units.

    Raises:
        UsageError: A class is not one of the question's.
    """
    if isinstance(question, Targets):
        return np.asarray(answers.values, dtype=np.float64).reshape(len(answers), -1)
    assert isinstance(question, Classes)
    if answers.classes and answers.classes == question.names:
        return answers.values.astype(np.int64)
    numbers = {name: i for i, name in enumerate(question.names)}
    texts = [answers.classes[int(v)] for v in answers.values] if answers.classes else words(answers.values)
    unknown = sorted({text for text in texts if text not in numbers}, key=natural)
    if unknown:
        raise UsageError(
            f"{where}: unknown class {listed(unknown)}", f"the classes are {listed(question.names)}"
        )
    return np.array([numbers[text] for text in texts], dtype=np.int64)


def _of_classes(answers: Answers, asked: Asked, where: str) -> tuple[bool, str]:
    values = answers.values
    if asked != "auto":
        if asked == "targets" and values.dtype.kind not in "biuf":
            raise UsageError(f"{where}: the answers are text, not numbers", "set data.question to classes")
        return asked == "classes", ""
    if values.ndim == 2:
        return False, f"{where}: {values.shape[1]} numbers are asked for"
    if answers.classes or values.dtype.kind not in "iuf":
        return True, ""
    distinct = np.unique(values)
    whole = bool(np.all(distinct == np.floor(distinct)))
    # labels are usually counted from 0
    counted = (
        whole and distinct[0] == 0 and distinct[-1] == len(distinct) - 1 and len(distinct) * 5 <= len(values)
    )
    if whole and (len(distinct) <= FEW or counted):
        other = "data.question: targets takes them for numbers"
        return True, f"{where}: {answers.names[0]} has {len(distinct)} whole values: classes; {other}"
    return False, f"{where}: {answers.names[0]} has {len(distinct)} values: numbers are asked for"


def _targets(answers: Answers, where: str) -> Targets:
    values = np.asarray(answers.values, dtype=np.float64).reshape(len(answers), -1)
    for name, column in zip(answers.names, values.T, strict=True):
        if not np.ptp(column) > 1e-12 * np.abs(column).max():
            raise UsageError(
                f"{where}: the target {name} is {column[0]:g} everywhere", "nothing is to be learned from it"
            )
    return Targets(answers.names)


def _refuse_missing(answers: Answers, where: str) -> None:
    values = answers.values
    if values.dtype.kind in "f":
        bad = ~is_usable(values).reshape(len(values), -1).all(axis=1)
    elif values.dtype.kind in "biu":
        return
    else:
        bad = np.array([not word for word in words(values)])
    if bad.any():
        i = int(np.flatnonzero(bad)[0])
        raise UsageError(
            f"{where}: sample {i + 1} has no answer, or none that is finite, "
            f"and so have {int(bad.sum()) - 1} others",
            f"fill in {answers.names[0]}, or leave those samples out",
        )
