"""`integrand report --atlas`: several suites on one page."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import TrackingError, UsageError

if TYPE_CHECKING:
    from ..comparison.results import Comparison

_NOT_FOR_SEVERAL = ("experiment", "runs", "filter", "evaluation")


def add_options(p: argparse.ArgumentParser) -> None:
    """The options of the atlas."""
    several = p.add_argument_group("several suites on one page")
    several.add_argument(
        "--atlas",
        action="extend",
        nargs="+",
        default=[],
        metavar="NAME",
        help="experiments, or folders in that of --records: writes DIR/atlas.html, families down and data "
        "sets across, and the report of each in DIR/NAME",
    )
    several.add_argument(
        "--link",
        action="extend",
        nargs="+",
        default=[],
        metavar="NAME=PAGE",
        help="link an experiment to this page, relative to the atlas, instead of writing its report",
    )


def run(args: argparse.Namespace, argv: Sequence[str]) -> int:
    """Write the atlas and the reports that it links to.

    Args:
        args: The parsed options.
        argv: The words after `integrand report`.

    Returns:
        0 where there was something to report.

    Raises:
        UsageError: An option does not fit several suites, or names what does not exist.
        TrackingError: The store or the output folder cannot be used.
    """
    for name in _NOT_FOR_SEVERAL:
        if getattr(args, name):
            raise UsageError(f"--{name} is for one report, not for --atlas", "leave one of them out")
    links = _links(args.link, args.atlas)
    from ..report.atlas import build_atlas
    from ..report.write import write_atlas

    folder = args.out or Path("compare") / "atlas"
    comparisons: dict[str, Comparison] = {}
    for name in args.atlas:
        comparisons[name] = _compared(args, name)
        if name not in links:
            links[name] = f"{name}/report.html"
            _write_report(comparisons[name], args, name, folder / name)
    commands = [f"integrand suite run {name}" for name in args.atlas]
    atlas = build_atlas(comparisons, links, [*commands, shlex.join(["integrand", "report", *argv])])
    try:
        paths = write_atlas(atlas, folder)
    except OSError as error:
        raise TrackingError(
            f"cannot write to {folder}: {error.strerror}", "choose another folder with --out"
        ) from error
    print(f"wrote {', '.join(map(str, paths))}")
    return 0 if atlas.groups else 1


def _links(given: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """The page of each suite that has one.

    Raises:
        UsageError: A link is not written as NAME=PAGE, or is of a suite that is not in the atlas.
    """
    links = {}
    for text in given:
        name, equals, page = text.partition("=")
        if not equals or name not in names:
            raise UsageError(
                f"--link {text} links no suite of the atlas", f"write NAME=PAGE, NAME of {', '.join(names)}"
            )
        links[name] = page
    return links


def _compared(args: argparse.Namespace, name: str) -> Comparison:
    from ..comparison.analysis import compare_selected
    from ..comparison.records.load import Selection

    records = args.records / name if args.records else None
    chosen = Selection(None if records else name, records, (), "", args.tracking_uri, None)
    return compare_selected(chosen, args.metric, args.mode, args.group_by, args.baseline, args.target)


def _write_report(comparison: Comparison, args: argparse.Namespace, name: str, folder: Path) -> None:
    from ..report.artifacts import locator
    from ..report.build import build_page
    from ..report.write import write
    from .compare import into_folder

    records = args.records / name if args.records else None
    words = ["--records", str(records)] if records else ["--experiment", name]
    page = build_page(comparison, locator(comparison, records, args.tracking_uri), words)
    into_folder(folder, comparison.title, lambda folder: write(comparison, page, folder))
