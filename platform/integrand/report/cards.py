"""What families declare about themselves, read from the source: importing them would load torch."""

from __future__ import annotations

import ast
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
    folder = Path(spec.origin).parent if spec and spec.origin else None
    if folder is None:
        return {}
    found = [card for path in sorted(folder.rglob("*.py")) for card in _cards_in(path)]
    return {card.family: card for card in found}


def _cards_in(path: Path) -> list[Card]:
    """The families that one file defines."""
    text = path.read_text(encoding="utf-8")
    if "family" not in text:
        return []
    found = []
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef):
            values = dict(_strings(node))
            if values.get("family"):
                summary = (ast.get_docstring(node) or "").split("\n\n")[0]
                found.append(Card(**values, class_name=node.name, summary=" ".join(summary.split())))
    return found


def _strings(node: ast.ClassDef) -> list[tuple[str, str]]:
    """The declarations that are plain strings."""
    found = []
    for statement in node.body:
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target, value = statement.targets[0], statement.value
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            target, value = statement.target, statement.value
        else:
            continue
        if isinstance(target, ast.Name) and target.id in _DECLARED:
            try:
                constant = ast.literal_eval(value)
            except ValueError:
                continue
            if isinstance(constant, str):
                found.append((target.id, constant))
    return found
