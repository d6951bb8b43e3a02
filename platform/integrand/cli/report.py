"""`integrand report`: a comparison as one HTML file, with its tables as Markdown, CSV and LaTeX."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from ..errors import TrackingError, UsageError
from . import atlas
from .compare import add_selection, compared, into_folder, named
from .parser import Parser


def parser() -> Parser:
    """The options of `integrand report`."""
    p = Parser(
        prog="integrand report",
        description="Write one self-contained HTML file on recorded runs: findings in words, tables, "
        "figures, a section per family, provenance and the commands to reproduce; also Markdown, CSV and "
        "LaTeX. The files become artifacts of a comparison run in the tracking store.",
    )
    add_selection(p)
    p.add_argument("--out", type=Path, metavar="DIR", help="where files go, default: compare/EXPERIMENT")
    atlas.add_options(p)
    p.add_argument("--no-log", action="store_true", help="log nothing to the tracking store")
    return p


def run(argv: Sequence[str]) -> int:
    """Run `integrand report` with the words after it.

    Returns:
        0 where there was something to report and, unless told not to, it was logged.

    Raises:
        UsageError: The options name runs, metrics or groups that do not exist.
        TrackingError: The store or the output folder cannot be used. The files have been written where only
            the logging failed.
    """
    args = parser().parse_args(list(argv))
    if args.atlas:
        return atlas.run(args, argv)
    if args.link:
        raise UsageError("--link is for --atlas", "leave it out")
    comparison = compared(args)
    from ..report.artifacts import locator
    from ..report.build import build_page
    from ..report.publish import publish
    from ..report.write import write

    page = build_page(comparison, locator(comparison, args.records, args.tracking_uri), argv)
    folder, paths = into_folder(args.out, comparison.title, lambda folder: write(comparison, page, folder))
    print(f"wrote {paths[0]} ({paths[0].stat().st_size / 1e6:.1f} MB)")
    print(f"and   {', '.join(path.name for path in paths[1:])}")
    # records in a folder came from no store, so there is none to log to
    if not args.no_log and not args.records:
        findings = [text for f in page.findings for text in (f.lead, *f.established)]
        try:
            run_id = publish(comparison, paths, findings, args.tracking_uri, next(iter(named(args)), None))
        except TrackingError as error:
            print(f"integrand: the files are in {folder}, but were not logged", file=sys.stderr)
            raise error
        print(f"logged as run {run_id[:8]}")
    return 0 if comparison.parts else 1
