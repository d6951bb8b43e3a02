"""What a reader of the user's data hands over, and how it becomes splits with a spec."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from integrand.errors import UsageError
from integrand.spec import Classes, Question, Spec, Targets

from ..images.loading import Inputs
from .answers import Answers, Asked, Rows, encoded, question_of
from .parts import PARTS, Shares, check_classes, split

Description = Mapping[str, Any]
"""What was inferred from a training part, as plain values that a checkpoint keeps: spec, scales, columns."""


class Source(ABC):
    """Samples that a reader has found; none of them need be in memory.

    Args:
        where: What errors and messages call it.
        name: Name of the data set.
        ids: What each sample is called in predictions.
        answers: The true answers, None where there are none.
        parts: The part of each sample where the data say it, else None.
        said: Lines for the user: what was guessed or left out.
    """

    def __init__(
        self,
        where: str,
        name: str,
        ids: Sequence[str],
        answers: Answers | None = None,
        parts: Sequence[str] | None = None,
        said: Sequence[str] = (),
    ) -> None:
        self.where, self.name, self.ids = where, name, ids
        self.answers, self.parts, self.said = answers, parts, list(said)

    @abstractmethod
    def describe(self, train: Rows) -> dict[str, Any]:
        """What the inputs are, as plain values; scales are those of the training rows.

        Raises:
            UsageError: Something cannot be right; file and remedy are named.
        """

    @abstractmethod
    def spec(self, question: Question, description: Description) -> Spec:
        """What a model takes from them."""

    @abstractmethod
    def inputs(self, description: Description) -> tuple[Inputs, list[float], list[float]]:
        """All samples, and the factor and shift of each channel that take them to what a model sees.

        Raises:
            UsageError: They are not what the description says.
        """

    @abstractmethod
    def content(self) -> Iterator[bytes]:
        """The content, for a digest."""


@dataclass(frozen=True)
class Collection:
    """Samples in their splits.

    Args:
        spec: What a model takes from them.
        description: See `Description`.
        inputs: All samples.
        scale: Factor of each channel.
        shift: Shift of each channel.
        answers: Classes (n,) or scaled targets (n, targets) of all samples, None where there are none.
        rows: The samples of each split.
        ids: What each sample is called.
        digest: sha256 over content and split.
        said: Lines for the user.
    """

    spec: Spec
    description: Description
    inputs: Inputs
    scale: list[float]
    shift: list[float]
    answers: Tensor | None
    rows: dict[str, Rows]
    ids: Sequence[str]
    digest: str
    said: list[str]


def collect(source: Source, asked: Asked, shares: Shares) -> Collection:
    """Split the samples, and infer from the training part what they are.

    Raises:
        UsageError: Something cannot be right; file, option and remedy are named.
    """
    question, why = question_of(source.answers, asked, source.where)
    answers = None if source.answers is None else encoded(source.answers, question, source.where)
    labels = answers if isinstance(question, Classes) else None
    rows, how = split(len(source.ids), source.parts, labels, shares, source.where)
    said = [*([why] if why else []), f"{source.where}: {how}"]
    if labels is not None:
        assert isinstance(question, Classes)
        said += check_classes(rows, labels, question.names, source.where)
    if isinstance(question, Targets):
        assert answers is not None
        question = _scaled(question, answers[rows["train"]])
    described = source.describe(rows["train"])
    spec = source.spec(question, described)
    return _made(source, spec, {"spec": spec.to_dict(), **described}, answers, rows, said)


def collect_new(source: Source, description: Description) -> Collection:
    """Samples for a model that is trained: all of them validate and test, and scales and
    classes are those it knows.

    Answers that the model does not know are left out.

    Raises:
        UsageError: The samples are not what the description says.
    """
    spec = replace(Spec.from_dict(dict(description["spec"])), name=source.name)
    rows = {part: np.arange(0 if part == "train" else len(source.ids)) for part in PARTS}
    said: list[str] = []
    answers = None
    if source.answers is not None and isinstance(spec.question, Classes | Targets):
        try:
            answers = encoded(source.answers, spec.question, source.where)
            if not np.isfinite(answers).all():
                raise UsageError(f"{source.where}: a sample has no answer", "fill it in")
        except (UsageError, ValueError) as error:
            answers = None
            said.append(f"{str(error).partition(' → ')[0]}; no true answers are taken")
    return _made(source, spec, description, answers, rows, said)


def _made(
    source: Source,
    spec: Spec,
    description: Description,
    answers: Any,
    rows: dict[str, Rows],
    said: list[str],
) -> Collection:
    inputs, scale, shift = source.inputs(description)
    digest = hashlib.sha256()
    for content in source.content():
        digest.update(content)
    described = {key: value for key, value in description.items() if key != "spec"}
    digest.update(json.dumps([described, spec.to_dict()["question"]], sort_keys=True).encode())
    for part in PARTS:
        digest.update(np.ascontiguousarray(rows[part], "<i8").tobytes())
    if answers is not None:
        digest.update(np.ascontiguousarray(answers).tobytes())
    given = None if answers is None else _tensor(spec.question, answers)
    return Collection(
        *(spec, description, inputs, scale, shift, given, rows, source.ids, digest.hexdigest()),
        [*source.said, *said],
    )


def _scaled(question: Targets, train: Any) -> Targets:
    """Targets with zero mean and unit deviation in training."""
    spread = train.std(axis=0)
    return replace(
        question,
        scales=tuple(np.where(spread > 0, spread, 1.0).tolist()),
        shifts=tuple(train.mean(axis=0).tolist()),
    )


def _tensor(question: Question, answers: Any) -> Tensor:
    if not isinstance(question, Targets):
        return torch.from_numpy(answers.astype(np.int64))
    scaled = (answers - np.array(question.shifts)) / np.array(question.scales)
    return torch.from_numpy(scaled.astype(np.float32))
