"""`--data PATH`: which data module reads it, and what a trained model knows about such data."""

from __future__ import annotations

import logging
from typing import Any

from integrand.datamodules.base import DESCRIBED
from integrand.datamodules.own.guess import TABLES, Guess, guess, means_path

from ..checkpoints import read
from ..errors import UsageError
from ..spec import plural
from .line import Line, Word

log = logging.getLogger(__name__)

_KINDS = {"ImageFolder": ("image",), "CSVTable": ("vector",), "CSVTrajectories": ("series",)}
"""The inputs that a data module has, where it has one kind."""


def expand_path(command: str, line: Line) -> None:
    """Replace `--data PATH` by the data module that reads it, and say which.

    Where a trained model is named, scales, classes and columns are those of its training, which its
    checkpoint keeps: all of the data then validates, tests or is predicted.

    Args:
        command: `fit`, `validate`, `test` or `predict`.
        line: The words after the command; a run is expanded already.

    Raises:
        UsageError: Nothing reads the path, or the model takes other inputs.
    """
    given = [word for word in line.words if word.option == "--data" and means_path(word.value or "")]
    if not given:
        return
    (word, value) = given[-1], str(given[-1].value)
    found = guess(value)
    options: dict[str, Any] = {}
    checkpoint = next((w.value for w in line.words if w.option == "--ckpt_path" and w.value), None)
    if command != "fit" and checkpoint is not None:
        trained, described = _description(checkpoint)
        found = _fitting(found, value, trained, described)
        options = {DESCRIBED: described}
        for earlier in line.words:
            # what the run was trained on; options that were typed stay
            if earlier.content is not None and earlier.content.pop("data", None) is not None:
                earlier.changed = True
    content = {"data": {"class_path": found.class_name, "init_args": {found.option: value, **options}}}
    line.words[line.words.index(word)] = Word("--config", "data.yaml", content, changed=True)
    log.warning(
        "%s is read as %s (%s): --data %s --data.%s %s says the same",
        *(value, found.class_name, found.why, found.class_name, found.option, value),
    )


def _description(checkpoint: str) -> tuple[str, dict[str, Any]]:
    """The data module that a model was trained on, and what it inferred."""
    contents = read(checkpoint)
    for name, part in contents.items():
        if isinstance(part, dict) and isinstance(part.get(DESCRIBED), dict):
            return str(name), part[DESCRIBED]
    raise UsageError(
        f"{checkpoint} does not say how its training data were scaled",
        "those of images and of your own data do: leave --data out to take the run's own test split",
    )


def _fitting(found: Guess, value: str, trained: str, described: dict[str, Any]) -> Guess:
    """The guess, in the light of what the model was trained on."""
    kind = str(described["spec"]["kind"])
    if found.class_name in TABLES and trained in TABLES:
        return Guess(trained, "as the model was trained")
    if kind not in _KINDS.get(found.class_name, (kind,)):
        raise UsageError(
            f"--data {value} is read as {found.class_name}, but the model takes {plural(kind)}",
            "give it the kind of data that it was trained on",
        )
    return found
