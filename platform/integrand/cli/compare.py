"""`integrand compare`: recorded runs side by side, with intervals, tests and costs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import TrackingError, UsageError
from .parser import Parser


def parser() -> Parser:
    """The options of `integrand compare`."""
    p = Parser(
        prog="integrand compare",
        description="Compare recorded runs over seeds: mean and 95 %% interval of a metric, paired "
        "differences, cost in evaluations, time and memory. Prints tables; writes CSV, Markdown, figures.",
    )
    source = p.add_argument_group("which runs")
    source.add_argument("--experiment", metavar="NAME", help="MLflow experiment, or the suite of that name")
    source.add_argument(
        "--records", type=Path, metavar="DIR", help="folder of record.json files, instead of MLflow"
    )
    source.add_argument(
        "--runs", nargs="+", default=[], metavar="ID", help="only these run ids or beginnings of ids"
    )
    source.add_argument(
        "--filter", default="", metavar="EXPR", help="MLflow search expression, such as \"tags.x = 'y'\""
    )
    source.add_argument(
        "--tracking-uri", metavar="URI", help="default: MLFLOW_TRACKING_URI or sqlite:///mlflow.db"
    )
    what = p.add_argument_group("what is compared")
    what.add_argument("--metric", metavar="NAME", help="default: final/test_acc, else best/val_acc")
    what.add_argument(
        "--mode", choices=("min", "max"), help="whether smaller or larger is better, if not plain"
    )
    what.add_argument("--group-by", choices=("family", "config"), default="family", help="default: family")
    what.add_argument(
        "--baseline", metavar="GROUP", help="take differences to this group, default: the best mean"
    )
    p.add_argument("--out", type=Path, metavar="DIR", help="where files go, default: compare/EXPERIMENT")
    return p


def run(argv: Sequence[str]) -> int:
    """Run `integrand compare` with the words after it.

    Returns:
        0 where there was something to compare.

    Raises:
        UsageError: The options name runs, metrics or groups that do not exist.
        TrackingError: The store or the output folder cannot be used.
    """
    args = parser().parse_args(list(argv))
    if not (args.experiment or args.records or args.runs or args.filter):
        raise UsageError(
            "which runs?", "name them with --experiment NAME, --records DIR, --runs ID or --filter EXPR"
        )
    if args.records and (args.filter or args.tracking_uri):
        raise UsageError(
            "--filter and --tracking-uri belong to an MLflow store, not to --records", "leave them out"
        )
    # after the parser, so that --help does not wait for scipy and matplotlib
    from rich.console import Console

    from ..comparison.analysis import compare
    from ..comparison.load import load_expected, load_folder, load_mlflow
    from ..comparison.quantities import choose_metric
    from ..comparison.tables import print_comparison
    from ..comparison.write import write

    if args.records:
        records = load_folder(args.records, args.runs)
        if args.experiment:
            records = [r for r in records if r.experiment == args.experiment]
    else:
        records = load_mlflow(args.experiment, args.runs, args.filter, args.tracking_uri)
    title = args.experiment or (args.records.name if args.records else "selection")
    whole_suite = args.experiment and not (args.runs or args.filter or args.records)
    metric = choose_metric(records, args.metric, args.mode)
    comparison = compare(
        records,
        metric,
        args.group_by,
        args.baseline,
        title,
        load_expected(Path("integrand-runs") / "suites" / title / "plan.json") if whole_suite else (),
    )
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=140)  # a log or a pipe has no width of its own
    print_comparison(comparison, console)
    folder = args.out or Path("compare") / title.replace("/", "-")
    try:
        paths = write(comparison, folder)
    except OSError as error:
        raise TrackingError(
            f"cannot write to {folder}: {error.strerror}", "choose another folder with --out"
        ) from error
    console.print(f"\nwrote {folder}/: {', '.join(path.name for path in paths)}", soft_wrap=True)
    return 0 if comparison.parts else 1
