"""`integrand compare`: recorded runs side by side, with intervals, tests and costs."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import TrackingError
from ..moved import current_evaluation
from .parser import Parser

if TYPE_CHECKING:
    from ..comparison.records.load import Selection
    from ..comparison.results import Comparison


def parser() -> Parser:
    """The options of `integrand compare`."""
    p = Parser(
        prog="integrand compare",
        description="Compare recorded runs over seeds: mean and 95 %% interval of a metric, paired "
        "differences, cost in evaluations, time and memory. Prints tables; writes CSV, Markdown, LaTeX, "
        "figures.",
    )
    add_selection(p)
    p.add_argument("--out", type=Path, metavar="DIR", help="where files go, default: compare/EXPERIMENT")
    return p


def add_selection(p: argparse.ArgumentParser) -> None:
    """Add the options that say which runs are compared, and how."""
    source = p.add_argument_group("which runs")
    source.add_argument("experiments", nargs="*", metavar="EXPERIMENT", help="the same as --experiment")
    source.add_argument(
        "--experiment",
        metavar="NAME",
        action="extend",
        nargs="+",
        default=[],
        help="MLflow experiments, or the suites of these names",
    )
    source.add_argument(
        "--records", type=Path, metavar="DIR", help="folder of record.json files, instead of MLflow"
    )
    source.add_argument(
        "--runs",
        action="extend",
        nargs="+",
        default=[],
        metavar="ID",
        help="only these run ids or beginnings of ids",
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
    what.add_argument(
        "--group-by",
        choices=("config", "family"),
        default="config",
        help="default: config, named by its family",
    )
    what.add_argument(
        "--evaluation", metavar="NAME", help="what integrand evaluate --with NAME recorded of these runs"
    )
    what.add_argument(
        "--baseline", metavar="GROUP", help="take differences to this group, default: the best mean"
    )
    what.add_argument(
        "--target",
        type=float,
        metavar="VALUE",
        help="validation quality to time, such as 0.85; default: the median of the groups' best",
    )


def named(args: argparse.Namespace) -> tuple[str, ...]:
    """The experiments that are named, each once."""
    return tuple(dict.fromkeys([*args.experiments, *args.experiment]))


def selection(args: argparse.Namespace) -> Selection:
    """The runs that the options of `add_selection` name."""
    from ..comparison.records.load import Selection

    return Selection(
        named(args),
        args.records,
        tuple(args.runs),
        args.filter,
        args.tracking_uri,
        current_evaluation(args.evaluation),
    )


def compared(args: argparse.Namespace) -> Comparison:
    """Load and compare what the options of `add_selection` name.

    Raises:
        UsageError: The options name runs, metrics or groups that do not exist.
        TrackingError: The store cannot be read.
    """
    # after the parser, so that --help does not wait for scipy
    from ..comparison.analysis import compare_selected

    return compare_selected(
        selection(args), args.metric, args.mode, args.group_by, args.baseline, args.target
    )


def into_folder(out: Path | None, title: str, write: Callable[[Path], list[Path]]) -> tuple[Path, list[Path]]:
    """Write the files of a comparison where the user said, or into `compare/` under its title.

    Raises:
        TrackingError: The folder cannot be written.
    """
    folder = out or Path("compare") / title.replace("/", "-")
    try:
        return folder, write(folder)
    except OSError as error:
        raise TrackingError(
            f"cannot write to {folder}: {error.strerror}", "choose another folder with --out"
        ) from error


def run(argv: Sequence[str]) -> int:
    """Run `integrand compare` with the words after it.

    Returns:
        0 where there was something to compare.

    Raises:
        UsageError: The options name runs, metrics or groups that do not exist.
        TrackingError: The store or the output folder cannot be used.
    """
    args = parser().parse_args(list(argv))
    comparison = compared(args)
    from rich.console import Console

    from ..comparison.files.write import write
    from ..comparison.tables.terminal import print_comparison

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=140)  # a log or a pipe has no width of its own
    print_comparison(comparison, console)
    folder, paths = into_folder(args.out, comparison.title, lambda folder: write(comparison, folder))
    console.print(f"\nwrote {folder}/: {', '.join(path.name for path in paths)}", soft_wrap=True)
    return 0 if comparison.parts else 1
