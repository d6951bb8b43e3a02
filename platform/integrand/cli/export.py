"""`integrand export`: a trained network as a graph that runs without this package."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from ..errors import UsageError
from .parser import Parser

if TYPE_CHECKING:
    from ..modules.family import FamilyModule

_READ = {
    "torch": 'torch.export.load("{path}").module()(x)',
    "onnx": 'onnxruntime.InferenceSession("{path}").run(None, {{"x": x}})',
}


def run(argv: list[str]) -> int:
    """Write a run's network to a file and say how it is read.

    Args:
        argv: The arguments after `export`.

    Returns:
        0 on success.

    Raises:
        UsageError: The network cannot be one graph.
        TrackingError: There is no such run.
    """
    args = _parser().parse_args(argv)
    if args.tracking_uri:
        os.environ["MLFLOW_TRACKING_URI"] = args.tracking_uri
    from ..exporting import FORMATS, export
    from ..modules.family import FamilyModule
    from ..modules.from_checkpoint import network
    from ..tracking.store import runs

    found = runs.find_trained(args.run)
    checkpoint = runs.checkpoint(found, args.checkpoint)
    model, _ = network(FamilyModule, checkpoint, {}, trust=args.trust, strict=True)
    path = Path(args.out or f"{found.name}{FORMATS[args.format]}")
    if args.num_steps is not None:
        model = _in_equal_steps(model, checkpoint, args.num_steps, args.trust)
    difference = export(model, path, args.format)
    print(f"wrote {path}: differs from the network by {difference:.2g} at most; takes {_inputs(model)}")
    print(f"read it: {_READ[args.format].format(path=path)}")
    return 0


def _in_equal_steps(model: FamilyModule, checkpoint: Path, steps: int, trust: bool) -> Any:
    """The same weights under RK4 with equal steps, and how much that changes."""
    import torch

    from ..modules.family import FamilyModule
    from ..modules.from_checkpoint import network
    from ..solvers import RK4

    if not model.describe_solver()[0]:
        raise UsageError(f"{type(model).__name__} has no solver", "leave --num-steps out")
    other, _ = network(FamilyModule, checkpoint, {"solver": RK4(num_steps=steps)}, trust=trust, strict=True)
    x = torch.randn(64, *model.spec.input_shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        change = float((model.eval()(x) - other.eval()(x)).abs().max())
    was = model.describe_solver()[0]
    print(f"RK4 with {steps} equal steps for {was}: outputs differ by {change:.2g} at most")
    return other


def _inputs(model: FamilyModule) -> str:
    shape = ", ".join(map(str, model.spec.input_shape))
    return (
        f"inputs of shape (batch, {shape}) as the data set's batches hold them, and answers as predict does"
    )


def _parser() -> Parser:
    from ..exporting import Format

    parser = Parser(prog="integrand export", description=__doc__)
    parser.add_argument(
        "--run", required=True, metavar="ID", help="a run id or its first letters, a run name, latest or best"
    )
    parser.add_argument(
        "--format", choices=get_args(Format), default="torch", help="torch.export (default), or ONNX"
    )
    parser.add_argument("--out", metavar="FILE", help="file to write; by default the run's name")
    parser.add_argument(
        "--num-steps", type=int, metavar="N", help="replace the solver by RK4 with N equal steps"
    )
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
