"""`integrand promote`: a trained network as a registered model that `mlflow models serve` answers from."""

from __future__ import annotations

import logging
import os
import warnings

from ..errors import UsageError
from .parser import Parser


def run(argv: list[str]) -> int:
    """Log a run's network as an MLflow model, register it and name the command that serves it.

    Args:
        argv: The arguments after `promote`.

    Returns:
        0 on success.

    Raises:
        UsageError: The network is none that answers for arrays of inputs, or the name is none.
        TrackingError: There is no such run, or the store refuses.
    """
    args = _parser().parse_args(argv)
    if not args.name.strip() or "/" in args.name or ":" in args.name:
        raise UsageError(f"{args.name!r} is no name of a registered model", "leave out / and :")
    if args.tracking_uri:
        os.environ["MLFLOW_TRACKING_URI"] = args.tracking_uri
    from ..tracking.store import runs

    found = runs.find_trained(args.run)
    path = runs.checkpoint(found, args.checkpoint)
    # MLflow's own words at each step say nothing that is not said below
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="mlflow.*")
    from ..promotion import promote

    version = promote(path, found, args.name, args.alias, trust=args.trust)
    which = f"{args.name}@{args.alias}" if args.alias else f"{args.name}/{version}"
    print(f"run {found.name} is version {version} of {args.name}" + (f", {args.alias}" if args.alias else ""))
    print(
        f"MLFLOW_TRACKING_URI={found.tracking_uri} mlflow models serve -m models:/{which} --env-manager local"
    )
    return 0


def _parser() -> Parser:
    parser = Parser(prog="integrand promote", description=__doc__)
    parser.add_argument(
        "--run", required=True, metavar="ID", help="a run id or its first letters, a run name, latest or best"
    )
    parser.add_argument("--name", required=True, help="name of the registered model")
    parser.add_argument("--alias", help="alias of this version, such as champion")
    parser.add_argument(
        "--checkpoint", choices=("best", "last"), default="best", help="which one of the run (default best)"
    )
    parser.add_argument(
        "--trust", action="store_true", help="its configuration may name classes that are not installed"
    )
    parser.add_argument(
        "--tracking-uri", metavar="URI", help="default: MLFLOW_TRACKING_URI or sqlite:///mlflow.db"
    )
    return parser
