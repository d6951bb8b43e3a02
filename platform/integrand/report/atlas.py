"""Several suites on one page: families down, data sets across."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from integrand.comparison.measures import FIT_SECONDS, NFE_FORWARD, SAMPLE_NFE, SECONDS_PER_EPOCH
from integrand.comparison.results import Comparison, Part, Row
from integrand.comparison.tables import formatting
from integrand.comparison.tables.contents import LEGEND, MARKS
from integrand.modules import GROUPS
from integrand.version import __version__

from .cards import cards
from .wording import plural

_OTHERS = "others"


@dataclass(frozen=True)
class AtlasColumn:
    """One data set of one suite.

    Args:
        suite: The suite.
        data: The data set.
        metric: What is compared there, with its unit.
        wanted: `larger` or `smaller`.
        link: Where the suite's own report is, relative to the atlas; empty where there is none.
        title: Sizes and digest of the data, and how often the arms were run.
    """

    suite: str
    data: str
    metric: str
    wanted: str
    link: str
    title: str


@dataclass(frozen=True)
class AtlasCell:
    """One arm on one data set.

    Args:
        quality: Mean and half of its interval.
        costs: Evaluations and time, in words.
        standing: `reference`, `better`, `worse`, `tie` or `untested`.
        mark: The standing as a sign.
        title: The finding in words.
    """

    quality: str
    costs: str
    standing: str
    mark: str
    title: str


@dataclass(frozen=True)
class AtlasRow:
    """One arm.

    Args:
        label: Its name.
        title: The field's name for its family.
        group: Group of its family.
        cells: One for each column; None where the suite does not have it.
    """

    label: str
    title: str
    group: str
    cells: tuple[AtlasCell | None, ...]


@dataclass(frozen=True)
class Atlas:
    """The whole page.

    Args:
        title: Its heading.
        made: When and with what it was made.
        columns: Across.
        groups: Down: the rows of each group of families.
        legend: What the signs mean.
        commands: What makes the suites and the page.
    """

    title: str
    made: str
    columns: tuple[AtlasColumn, ...]
    groups: tuple[tuple[str, tuple[AtlasRow, ...]], ...]
    legend: str
    commands: tuple[str, ...]


def build_atlas(
    comparisons: Mapping[str, Comparison],
    links: Mapping[str, str] | None = None,
    commands: Sequence[str] = (),
    now: datetime | None = None,
) -> Atlas:
    """The atlas of several comparisons, each with its own metric, reference and tests.

    Args:
        comparisons: By name of the suite, in the order of the page.
        links: Where the report of a suite is, relative to the page.
        commands: What makes the suites and the page.
        now: The time that the page says it was made; None takes the clock's.
    """
    parts = [(name, found, part) for name, found in comparisons.items() for part in found.parts]
    by_column = [_named(part) for _, _, part in parts]
    labels = dict.fromkeys(label for rows in by_column for label in rows)
    made = (now or datetime.now(UTC)).strftime("%Y-%m-%d %H:%M UTC")
    rows = [
        _row(label, [rows.get(label) for rows in by_column], [found for _, found, _ in parts])
        for label in labels
    ]
    grouped = {group: tuple(r for r in rows if r.group == group) for group in (*GROUPS, _OTHERS)}
    return Atlas(
        "Atlas",
        f"Made {made} with Integrand {__version__}",
        tuple(_column(name, found, part, (links or {}).get(name, "")) for name, found, part in parts),
        tuple((group, members) for group, members in grouped.items() if members),
        LEGEND,
        tuple(commands),
    )


def _named(part: Part) -> dict[str, Row]:
    """Rows by a name that is the same in every suite: without the solver, where it tells no arms apart."""

    def short(label: str) -> str:
        return " ".join(word for word in label.split() if not word.startswith("solver="))

    taken = Counter(short(row.label) for row in part.rows)
    return {
        short(row.label) if taken[short(row.label)] == 1 else row.label: row
        for row in sorted(part.rows, key=lambda row: row.label)
    }


def _column(name: str, found: Comparison, part: Part, link: str) -> AtlasColumn:
    sizes = sorted({row.quality.n for row in part.rows})
    runs = plural(sizes[0], "run") if len(sizes) == 1 else f"{sizes[0]} to {plural(sizes[-1], 'run')}"
    wanted = "smaller" if found.metric.mode == "min" else "larger"
    title = f"{part.data}; {runs} of each arm; reference {part.reference}"
    return AtlasColumn(name, part.data.title, found.metric.label, wanted, link, title)


def _row(label: str, rows: Sequence[Row | None], comparisons: Sequence[Comparison]) -> AtlasRow:
    family = next(row.group.runs[0].family for row in rows if row is not None)
    card = cards().get(family)
    cells = tuple(
        None if row is None else _cell(row, found) for row, found in zip(rows, comparisons, strict=True)
    )
    known = card is not None and card.group in GROUPS
    return AtlasRow(label, card.title if card else label, card.group if card and known else _OTHERS, cells)


def _cell(row: Row, found: Comparison) -> AtlasCell:
    standing = "reference" if row.difference is None else row.difference.verdict
    mark = "★" if row.difference is None else MARKS[row.difference.verdict]
    title = row.difference.sentence if row.difference else "The reference of this data set"
    return AtlasCell(formatting.quality(row.quality, found.metric.scale), _costs(row), standing, mark, title)


def _costs(row: Row) -> str:
    """Such as `26 NFE, 2.3 s/epoch`."""
    nfe = row.costs.get(SAMPLE_NFE.key) or row.costs.get(NFE_FORWARD.key)
    epoch, whole = row.costs.get(SECONDS_PER_EPOCH.key), row.costs.get(FIT_SECONDS.key)
    words = [f"{formatting.number(nfe.mean)} NFE"] if nfe else []
    if epoch:
        words.append(f"{formatting.duration(epoch.mean)}/epoch")
    elif whole:
        words.append(formatting.duration(whole.mean))
    return ", ".join(words)


def markdown(atlas: Atlas) -> str:
    """The atlas as one Markdown table."""
    heads = [f"[{c.data}: {c.suite}]({c.link})" if c.link else f"{c.data}: {c.suite}" for c in atlas.columns]
    lines = [
        f"# {atlas.title}",
        "",
        "```",
        *atlas.commands,
        "```",
        "",
        f"Each column has its own metric, reference and tests. {atlas.legend}.",
        "",
        f"| arm | {' | '.join(heads)} |",
        f"| --- | {' | '.join('---:' for _ in heads)} |",
        f"| | {' | '.join(f'{c.metric}, {c.wanted} is better' for c in atlas.columns)} |",
    ]
    for group, rows in atlas.groups:
        lines.append(f"| **{group}** | {' | '.join('' for _ in heads)} |")
        lines += [f"| {row.label} | {' | '.join(map(_written, row.cells))} |" for row in rows]
    return "\n".join([*lines, "", f"{atlas.made}.", ""])


def _written(cell: AtlasCell | None) -> str:
    return "" if cell is None else f"{cell.mark} {cell.quality}<br>{cell.costs}"
