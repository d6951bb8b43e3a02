"""What the page says, as plain data; the template only sets it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from markupsafe import Markup

from integrand.comparison.tables.table import Table

from .cards import Card
from .identity import Identity


@dataclass(frozen=True)
class Figure:
    """A figure with everything that must not be missing beside it.

    Args:
        key: Identifier, unique on the page.
        title: What it shows.
        svg: The drawing.
        caption: How to read it.
        table: The same numbers as a table.
        legend: The groups in it; empty where the drawing names them itself.
        tab: Short name where several figures share a place; empty for one that stands alone.
    """

    key: str
    title: str
    svg: Markup
    caption: str
    table: Table
    legend: tuple[Identity, ...] = ()
    tab: str = ""


@dataclass(frozen=True)
class MatrixCell:
    """One cell of the matrix of improvement.

    Args:
        text: The probability in per cent; empty on the diagonal.
        step: Shade, from -5 (surely worse) over 0 (even) to 5 (surely better).
        title: The cell in words.
    """

    text: str
    step: int
    title: str


@dataclass(frozen=True)
class Matrix:
    """P(row better than column) for every pair; rows and columns in the same order.

    Args:
        labels: The groups, best first.
        cells: By row.
        note: How it was estimated.
    """

    labels: tuple[str, ...]
    cells: tuple[tuple[MatrixCell, ...], ...]
    note: str


@dataclass(frozen=True)
class Findings:
    """The result of one part in words.

    Args:
        data: Name of the data set.
        lead: Who is best, by how many seeds, and by what method.
        established: Differences that the corrected tests tell from zero.
        open: Differences that they do not.
        untested: Groups that could not be tested, with the reason.
        costs: What the Pareto fronts say.
    """

    data: str
    lead: str
    established: tuple[str, ...]
    open: tuple[str, ...]
    untested: tuple[str, ...]
    costs: tuple[str, ...]


@dataclass(frozen=True)
class PartView:
    """One data set's tables and figures.

    Args:
        key: Identifier on the page.
        title: The data set with its sizes and digest.
        name: The data set.
        tables: By key of the comparison.
        costs: Quality against every recorded cost.
        differences: Forest plot; None with a single group.
        matrix: Probabilities of improvement; None where there are no pairs.
        training: Quality and loss over training.
        evaluations: Evaluations over training.
    """

    key: str
    title: str
    name: str
    tables: Mapping[str, Table]
    costs: tuple[Figure, ...]
    differences: Figure | None
    matrix: Matrix | None
    training: tuple[Figure, ...]
    evaluations: tuple[Figure, ...]


@dataclass(frozen=True)
class Picture:
    """A picture that a run logged.

    Args:
        name: Its file name.
        uri: The downscaled picture as a data URI.
        width: Pixels.
        height: Pixels.
        alt: What is in it.
    """

    name: str
    uri: str
    width: int
    height: int
    alt: str

    @property
    def is_plot(self) -> bool:
        """Whether it is lines on white, which a dark page shows light on dark; samples are pictures."""
        return not self.name.startswith("samples")


@dataclass(frozen=True)
class FamilyPart:
    """One group on one data set.

    Args:
        data: Name of the data set.
        quality: Quality with interval, as text.
        seeds: One row per run.
        curve: Quality over training with its seeds; None where no series was recorded.
        run: Name of the run that the pictures, configuration and command are of.
        pictures: What it logged.
        left_out: Pictures that did not fit.
        config: Its resolved configuration as YAML.
        command: What started it; empty where that was not recorded.
    """

    data: str
    quality: str
    seeds: Table
    curve: Figure | None
    run: str
    pictures: tuple[Picture, ...]
    left_out: int
    config: str
    command: str


@dataclass(frozen=True)
class FamilyView:
    """The page of a group.

    Args:
        identity: Its label and looks.
        card: What is known of the family.
        equation: Its equation as MathML; empty where it is unknown.
        solver: Solver and gradient of its runs, in words.
        parts: One per data set.
    """

    identity: Identity
    card: Card | None
    equation: Markup
    solver: str
    parts: tuple[FamilyPart, ...]


@dataclass(frozen=True)
class Command:
    """A step of the reproduction.

    Args:
        what: What it does.
        lines: The commands.
    """

    what: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Page:
    """The whole report.

    Args:
        title: What was compared.
        subtitle: Metric, groups, runs in one line.
        made: When and with what the page was made.
        facts: Headline numbers as value and unit.
        findings: One per part.
        overall: Over several data sets; None with one.
        further: Sentences that belong to no part, such as evaluations with other solvers.
        health: What failed or is missing, in one sentence.
        parts: One per data set.
        families: One per group, or the best of very many.
        more_families: Groups without a section.
        runs: Every run.
        left_out: Runs that are in no mean; None where there are none.
        environment: What the runs ran on.
        commands: How to reproduce.
        notes: What a reader must know to read the tables honestly.
        methods: How the numbers were made, as term and explanation.
        identities: How every group looks.
    """

    title: str
    subtitle: str
    made: str
    facts: tuple[tuple[str, str], ...]
    findings: tuple[Findings, ...]
    overall: Table | None
    further: tuple[str, ...]
    health: str
    parts: tuple[PartView, ...]
    families: tuple[FamilyView, ...]
    more_families: int
    runs: Table
    left_out: Table | None
    environment: Table
    commands: tuple[Command, ...]
    notes: tuple[str, ...]
    methods: tuple[tuple[str, str], ...]
    identities: Mapping[str, Identity]
