"""`integrand families`: what networks there are and what they declare."""

from __future__ import annotations

import json
import textwrap
from itertools import groupby
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..spec import plural
from ..suggest import did_you_mean
from .parser import Parser

if TYPE_CHECKING:
    from integrand.modules.family import FamilyModule

WIDTH = 80


def listing() -> list[dict[str, Any]]:
    """Every registered family as plain values, ordered by group and name."""
    from integrand.modules import families

    return [
        {
            "name": family.family,
            "class": family.__name__,
            "title": family.title,
            "group": family.group,
            "tasks": family.tasks(),
            "properties": family.properties(),
            "equation": family.equation,
            "reference": family.reference,
        }
        for family in families()
    ]


def run(argv: list[str]) -> int:
    """List the families by group, describe one in full, or print all as a list of objects.

    Raises:
        UsageError: There is no such family or group.
    """
    parser = Parser(prog="integrand families", description=__doc__)
    parser.add_argument("family", nargs="?", help="describe this one, by name or class")
    parser.add_argument("--json", action="store_true", help="print a list of objects")
    parser.add_argument("--group", help="only families of this group")
    args = parser.parse_args(argv)
    rows = _chosen(listing(), args.family, args.group)
    if args.json:
        print(json.dumps(rows, indent=1, ensure_ascii=False))
    else:
        print("\n".join(_described(rows[0]) if args.family else _short(rows)))
    return 0


def _chosen(rows: list[dict[str, Any]], name: str | None, group: str | None) -> list[dict[str, Any]]:
    if group:
        rows = _of_group(rows, group)
    return _named(rows, name) if name else rows


def _of_group(rows: list[dict[str, Any]], group: str) -> list[dict[str, Any]]:
    groups = sorted({row["group"] for row in rows})
    if group not in groups:
        raise UsageError(
            f"no families in group {group!r}{did_you_mean(group, groups)}", f"groups: {', '.join(groups)}"
        )
    return [row for row in rows if row["group"] == group]


def _named(rows: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    found = [row for row in rows if name in (row["name"], row["class"])]
    if not found:
        names = [row[key] for row in rows for key in ("name", "class")]
        raise UsageError(f"no family {name!r}{did_you_mean(name, names)}", "integrand families lists them")
    return found


def _short(rows: list[dict[str, Any]]) -> list[str]:
    """One line for each family, what each group answers, and the noise regularisers."""
    from integrand.modules.noise import __all__ as noises

    width = max(len(row["class"]) for row in rows)
    lines: list[str] = []
    for group, members in groupby(rows, key=lambda row: row["group"]):
        found = list(members)
        lines += _filled(f"{group}: {_tasks(_of_some(found))}")
        for row in found:
            lines.append(_cut(f"  {row['class']:<{width}}  {row['title']}"))
        lines.append("")
    lines += _filled("noise regularisers (--model.noise): " + ", ".join(noises))
    lines.append("integrand families NAME describes one; use a class as --model CLASS")
    return lines


def _described(row: dict[str, Any]) -> list[str]:
    """Everything that one family declares."""
    declares = [name.replace("_", " ") for name, value in row["properties"].items() if value]
    facts = {
        "class": f"{row['class']} (--model {row['class']}; --model.help {row['class']} lists its options)",
        "group": row["group"],
        "equation": row["equation"],
        "reference": row["reference"],
        "answers": _tasks(row["tasks"]),
        "noise": _noise(row["class"]),
        "declares": ", ".join(declares) or "nothing special",
    }
    lines = [f"{row['title']} ({row['name']})", ""]
    for name, value in facts.items():
        lines += _filled(f"{name:<10} {value}", indent=11)
    return lines


def _tasks(tasks: dict[str, list[str]]) -> str:
    return "; ".join(f"{task} of {' and '.join(map(plural, kinds))}" for task, kinds in tasks.items())


def _of_some(rows: list[dict[str, Any]]) -> dict[str, list[str]]:
    """The tasks that one family or another of several answers."""
    found: dict[str, list[str]] = {}
    for row in rows:
        for task, kinds in row["tasks"].items():
            known = found.setdefault(task, [])
            known += [kind for kind in kinds if kind not in known]
    return found


def _noise(name: str) -> str:
    """The noise regularisers that fit a family with its default options."""
    import integrand.modules as modules
    from integrand.modules import noise
    from integrand.modules.bench import BenchFamily, Noise
    from integrand.spec import Question, examples

    family: type[FamilyModule] = getattr(modules, name)
    if not issubclass(family, BenchFamily):
        return "none"
    asked = family.answers or (Question,)
    spec = next(s for s in examples() if isinstance(s, family.takes) and isinstance(s.question, asked))
    dynamics: Any = family(spec).net.dynamics  # type: ignore[call-arg]  # each has its own options
    fitting = []
    for kind in noise.__all__:
        made: Noise = getattr(noise, kind)()
        if not made.why_not(dynamics):
            fitting.append(kind)
    return ", ".join(fitting) or "none"


def _filled(text: str, indent: int = 2) -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent=" " * indent, break_long_words=False)


def _cut(line: str) -> str:
    return line if len(line) <= WIDTH else line[: WIDTH - 1] + "…"
