"""The options that every `integrand suite` command has, and the suite that they name."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from .parser import Parser

if TYPE_CHECKING:
    from ..suites.spec import SuiteSpec


def suite_parser(command: str, description: str) -> Parser:
    """The options that all commands have."""
    parser = Parser(prog=f"integrand suite {command}", description=description)
    parser.add_argument(
        "suite", metavar="SUITE", help="suite file, or name of a packaged suite or of one that has run here"
    )
    parser.add_argument(
        "--tracking-uri", metavar="URI", help="default: MLFLOW_TRACKING_URI or sqlite:///mlflow.db"
    )
    parser.add_argument(
        "--max-seconds", metavar="S", help="time budget of one run's training; default: the suite file's"
    )
    parser.add_argument(
        "--max-nfe",
        metavar="N",
        help="evaluation budget of one run's training; default: the suite file's",
    )
    return parser


def load_spec(args: Any) -> SuiteSpec:
    """The suite with the budget of the command line; children inherit the store through the environment."""
    from dataclasses import replace

    from ..suites.spec import BudgetSpec, budget_of, read_suite

    if args.tracking_uri:
        os.environ["MLFLOW_TRACKING_URI"] = args.tracking_uri
    args.suite = suite_file(args.suite)
    spec = read_suite(args.suite)
    given, own = budget_of(args.max_seconds, args.max_nfe, "command line"), spec.budget
    return replace(spec, budget=BudgetSpec(given.seconds or own.seconds, given.nfe or own.nfe))


def suite_file(name: str) -> str:
    """What a command names; of a suite that has run here and is none of the package's, its file."""
    from ..config_files import look_up
    from ..suites.journal import Journal

    if look_up(name, "suite") is not None or not re.fullmatch(r"[\w.-]+", name):
        return name
    return str(Journal.of(name).file() or name)
