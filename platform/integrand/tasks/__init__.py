"""The tasks: what can be asked of a model, one file each.

A new task is a file in here, or a class in another package, registered under the entry-point group
`integrand.tasks`.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..spec import Question, Spec
    from .base import Models, Task

__all__ = ["answered", "find_task", "tasks"]


@cache
def tasks() -> list[type[Task]]:
    """Every registered task, ordered by name."""
    from ..registry import import_entry_points, import_package, subclasses
    from .base import Task

    import_package(__name__)
    import_entry_points(__name__)
    base: Any = Task  # mypy refuses abstract classes as values
    return sorted((c for c in subclasses(base) if c.name), key=lambda c: c.name)


def find_task(spec: Spec, *models: Models) -> type[Task] | None:
    """The task that a data set asks of a family.

    Args:
        spec: What the data set publishes.
        models: What the family is a model of: one kind, or several.

    Returns:
        The task, None where the data set asks nothing that such a family answers.
    """
    return next((task for task in tasks() if task.models in models and task.asks(spec)), None)


def answered(
    models: tuple[Models, ...], takes: tuple[type[Spec], ...], answers: tuple[type[Question], ...] = ()
) -> dict[str, list[str]]:
    """The tasks that a family answers, each with the kinds of input on which it does.

    Args:
        models: The kinds of thing that the family is a model of.
        takes: The kinds of input that it takes.
        answers: The kinds of question that it answers, empty for all.
    """
    from ..spec import examples

    found: dict[str, list[str]] = {}
    for spec in examples():
        fits = isinstance(spec, takes) and isinstance(spec.question, answers or object)
        task = find_task(spec, *models) if fits else None
        if task is not None and spec.kind not in found.setdefault(task.name, []):
            found[task.name].append(spec.kind)
    return found
