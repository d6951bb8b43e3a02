"""`integrand ui`: MLflow's pages on the runs, for this machine alone unless told otherwise."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

from ..errors import UsageError
from ..tracking.store.uris import is_http, redact, resolve_uri
from .parser import Parser

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def run(argv: list[str]) -> int:
    """Start MLflow's server, or say where the one that is named stands.

    Raises:
        UsageError: The port is taken.
    """
    parser = Parser(prog="integrand ui", description=__doc__)
    parser.add_argument("--experiment", metavar="NAME", help="open on this experiment")
    parser.add_argument("--host", default="127.0.0.1", help="default 127.0.0.1: nobody else can connect")
    parser.add_argument("--port", type=int, default=5000, help="default 5000")
    parser.add_argument(
        "--tracking-uri", metavar="URI", help="default: MLFLOW_TRACKING_URI or sqlite:///mlflow.db"
    )
    args = parser.parse_args(argv)
    uri = resolve_uri(args.tracking_uri)
    if is_http(uri):
        print(f"the runs are on a server already: {link(redact(uri), _id(uri, args.experiment))}")
        return 0
    _check_port(args.host, args.port)
    if args.host not in LOOPBACK:
        print(
            f"integrand: warning: {args.host} lets others in, without a password; docs/tracking-server.md "
            "has one with accounts",
            file=sys.stderr,
        )
    print(f"open {link(f'http://{args.host}:{args.port}', _id(uri, args.experiment))}", flush=True)
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri, "--host", args.host]
    # a job runner beside the server is for language models, and takes half a minute to start
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    return subprocess.call([*command, "--port", str(args.port), "--workers", "1"], env=environment)


def link(address: str, experiment: str) -> str:
    """The address of training runs, where MLflow would open on its pages about language models."""
    page = f"experiments/{experiment}/runs" if experiment else "experiments"
    return f"{address.rstrip('/')}/#/{page}?workflowType=machine_learning"


def _id(uri: str, name: str | None) -> str:
    """MLflow's id of an experiment, of the newest one where none is named; empty where there is none."""
    from ..tracking.store.opening import open_store

    client = open_store(uri)
    if name:
        found = client.get_experiment_by_name(name)
        if found is None:
            raise UsageError(f"there is no experiment {name!r} in {redact(uri)}", "integrand runs lists them")
        return str(found.experiment_id)
    newest = client.search_experiments(max_results=1, order_by=["last_update_time DESC"])
    return str(newest[0].experiment_id) if newest else ""


def _check_port(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UsageError(
                f"{host}:{port} cannot be used: {error.strerror}", "give another one: --port 5001"
            ) from error
