"""`integrand compare-samplers`: swept samplers side by side, over the seeds of the models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import UsageError
from .compare import into_folder
from .parser import Parser


def parser() -> Parser:
    """The options of `integrand compare-samplers`."""
    p = Parser(
        prog="integrand compare-samplers",
        description="Compare what sweep-samplers recorded: quality by sampler and evaluations, mean and "
        "95 %% interval over models that differ by seed, paired tests. Prints tables; writes CSV, "
        "Markdown and figures.",
    )
    p.add_argument("--experiment", metavar="NAME", help="MLflow experiment, or the suite of that name")
    p.add_argument("--runs", nargs="+", default=[], metavar="ID", help="only these training runs")
    p.add_argument(
        "--metric", metavar="NAME", help="such as FD or coverage; default: the sweep's first score"
    )
    p.add_argument("--baseline", metavar="SAMPLER", help="test against this one; default: ddim, or the first")
    p.add_argument(
        "--tracking-uri", metavar="URI", help="default: MLFLOW_TRACKING_URI or sqlite:///mlflow.db"
    )
    p.add_argument("--out", type=Path, metavar="DIR", help="default: compare/EXPERIMENT-samplers")
    return p


def run(argv: Sequence[str]) -> int:
    """Run `integrand compare-samplers` with the words after it.

    Returns:
        0.

    Raises:
        UsageError: The options name runs, scores or samplers that do not exist.
        TrackingError: The store or the output folder cannot be used.
    """
    args = parser().parse_args(list(argv))
    if not args.experiment and not args.runs:
        raise UsageError("which runs?", "name them with --experiment NAME or --runs ID")
    from rich.console import Console
    from rich.text import Text

    from ..comparison.samplers import compare_samplers, load_samples
    from ..comparison.samplers.tables import difference_table, quality_table
    from ..comparison.samplers.write import write
    from ..comparison.tables.terminal import rich_table

    scores = load_samples(args.experiment, args.runs, args.tracking_uri)
    comparison = compare_samplers(scores, args.metric, args.baseline)
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=180)  # a log or a pipe has no width of its own
    for part in comparison.parts:
        for table in (quality_table(part, comparison.metric), difference_table(part, comparison.metric)):
            if table.rows:
                console.print(rich_table(table))
    for note in comparison.notes:
        console.print(Text(f"note: {note}", style="yellow"), soft_wrap=True)
    title = f"{args.experiment or 'selection'}-samplers"
    folder, paths = into_folder(args.out, title, lambda folder: write(comparison, folder))
    console.print(f"\nwrote {folder}/: {', '.join(path.name for path in paths)}", soft_wrap=True)
    return 0
