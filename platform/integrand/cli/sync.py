"""`integrand sync`: send what a dead tracking server or a killed process left behind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..tracking.spool import folders
from .parser import Parser


def run(argv: Sequence[str]) -> int:
    """Send all spools whose process has ended; 0 if nothing is left, 1 if something is."""
    parser = Parser(
        prog="integrand sync",
        description="Send recorded values and files that have not reached the tracking store.",
    )
    parser.add_argument(
        "--spool", type=Path, default=None, help=f"folder of spools (default: {folders.spool_root()})"
    )
    args = parser.parse_args(list(argv))
    from ..tracking.spool.sync import sync

    root = args.spool or folders.spool_root()
    results = sync(root)
    if not results:
        print(f"nothing to send in {root}")
        return 0
    for result in results:
        line = f"{result.run_id[:12]}  {_WORDS[result.state]}"
        if result.operations:
            line += f", {result.operations} operations sent"
        if result.killed:
            line += ", its process had died: marked KILLED"
        print(line + (f": {result.detail}" if result.detail else ""))
    return 1 if any(result.state in ("failed", "refused", "damaged") for result in results) else 0


_WORDS = {
    "sent": "complete",
    "running": "still running, sends by itself",
    "damaged": "complete but for what was damaged",
    "refused": "partly refused by the store (see refused.txt in its spool)",
    "failed": "not sent",
}
