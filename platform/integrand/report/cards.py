"""What families declare about themselves, read from the source: importing them would load torch."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

_DECLARED = ("family", "title", "group", "equation", "reference")


@dataclass(frozen=True)
class Card:
    """A family's declarations.

    Args:
        family: Slug, such as `neural-ode`.
        title: The field's name for it.
        group: `discrete`, `continuous`, ….
        equation: In one line of Unicode.
        reference: Author, year and title.
        class_name: Its class.
        summary: First sentence of its documentation.
    """

    family: str
    title: str = ""
    group: str = ""
    equation: str = ""
    reference: str = ""
    class_name: str = ""
    summary: str = ""


@cache
def cards() -> dict[str, Card]:
    """The packaged families by slug; those of other packages are not looked for."""
    spec = find_spec("integrand.modules")
    if spec is None or spec.origin is None:
        return {}
    classes: dict[str, ast.ClassDef] = {}
    for path in sorted(Path(spec.origin).parent.rglob("*.py")):
        body = ast.parse(path.read_text(encoding="utf-8")).body
        classes |= {node.name: node for node in body if isinstance(node, ast.ClassDef)}
    found = [card for node in classes.values() if (card := _card(node, classes)) is not None]
    return {card.family: card for card in found}


def _card(node: ast.ClassDef, classes: Mapping[str, ast.ClassDef]) -> Card | None:
    """The card of a class that names a family itself; what it leaves out it has from its bases."""
    if not _strings(node).get("family"):
        return None
    summary = (ast.get_docstring(node) or "").split("\n\n")[0]
    return Card(**_inherited(node, classes), class_name=node.name, summary=" ".join(summary.split()))


def _inherited(node: ast.ClassDef, classes: Mapping[str, ast.ClassDef]) -> dict[str, str]:
    """The declarations of a class and, behind them, those of its bases."""
    values: dict[str, str] = {}
    for base in reversed(node.bases):
        if isinstance(base, ast.Name) and base.id in classes and base.id != node.name:
            values |= _inherited(classes[base.id], classes)
    return values | _strings(node)


def _strings(node: ast.ClassDef) -> dict[str, str]:
    """The declarations that are plain strings."""
    found = {}
    for statement in node.body:
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target, value = statement.targets[0], statement.value
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            target, value = statement.target, statement.value
        else:
            continue
        if not isinstance(target, ast.Name) or target.id not in _DECLARED:
            continue
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            found[target.id] = value.value
    return found
