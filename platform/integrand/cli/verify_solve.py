"""`integrand verify-solve CKPT`: was the solver's tolerance enough for what the network has become?"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from ..errors import UsageError
from .parser import Parser


def run(argv: list[str]) -> int:
    """Solve one batch again in float64 at a tight tolerance and report errors of solution and gradient.

    Args:
        argv: The arguments after `verify-solve`.

    Returns:
        0 where the tolerance was adequate, 3 where it was not.

    Raises:
        UsageError: The checkpoint cannot be read or its network makes no solves.
    """
    parser = Parser(
        prog="integrand verify-solve",
        description="Re-solve a test batch in float64 and report the errors of solution and gradient.",
    )
    parser.add_argument("checkpoint", metavar="CKPT", help="a .ckpt file that a fit has left")
    parser.add_argument(
        "--trust", action="store_true", help="its configuration may name classes that are not installed"
    )
    parser.add_argument("--samples", type=int, default=32, help="test samples to solve (default 32)")
    parser.add_argument("--tightenings", type=int, default=2, help="tighter settings to try (default 2)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report to FILE")
    args = parser.parse_args(argv)
    if args.samples < 1:
        raise UsageError(f"--samples {args.samples} leaves nothing to solve", "ask for 1 or more")
    loaded = _load(args.checkpoint, args.samples, args.trust)
    reports, changed = _verify(*loaded, args.tightenings)
    _print(reports, changed, args.samples)
    if args.json is not None:
        text = json.dumps({"solves": reports, "predictions_changed": changed}, indent=1)
        args.json.write_text(text + "\n", encoding="utf-8")
    return 0 if all(r["adequate"] for r in reports) else 3


def _verify(model: Any, inputs: Any, tightenings: int) -> tuple[list[dict[str, Any]], float | None]:
    import torch

    from ..solvers.verification import recorded_solves, verify

    with torch.no_grad(), recorded_solves(model) as solves:
        model(inputs)
    if not solves:
        raise UsageError(
            "the network of this checkpoint makes no solves",
            "verify-solve is for families with an ODE solver",
        )
    return [verify(s, tightenings).to_dict() for s in solves], _changed(model, inputs)


def _changed(model: Any, inputs: Any) -> float | None:
    """Share of the predicted classes that a solve at a thousandth of the tolerance changes."""
    import torch

    from ..solvers import ODESolver
    from ..solvers.verification import refined

    with torch.no_grad():
        before = model(inputs)
    if not isinstance(before, torch.Tensor) or before.ndim != 2:
        return None
    held = [(m, n, v) for m in model.modules() for n, v in vars(m).items() if isinstance(v, ODESolver)]
    for module, name, solver in held:
        for _ in range(3):
            solver = refined(solver)
        setattr(module, name, solver)
    with torch.no_grad():
        after = model(inputs)
    for module, name, solver in held:
        setattr(module, name, solver)
    return float((before.argmax(1) != after.argmax(1)).double().mean())


def _load(checkpoint: str, samples: int, trust: bool) -> tuple[Any, Any]:
    """The network in evaluation mode and its first test inputs."""
    from ..loading import load

    model, data = load(checkpoint, trust=trust)
    data.prepare_data()
    data.setup("test")
    batch = next(iter(data.test_dataloader()))
    hook = getattr(data, "on_after_batch_transfer", None)
    if hook is not None:
        batch = hook(batch, 0)
    inputs = batch[0] if isinstance(batch, list | tuple) else batch
    return model, inputs[:samples]


def _print(reports: list[dict[str, Any]], changed: float | None, samples: int) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 120)
    for number, report in enumerate(reports, start=1):
        title = f"solve {number} of {len(reports)}, {samples} samples, against {report['reference']}"
        table = Table(title=title)
        table.add_column("solver")
        for heading in ("NFE", "solution error", "worst sample", "gradient error", "adequate"):
            table.add_column(heading, justify="right")
        for row in (report["used"], *report["tighter"]):
            gradient = "" if row["gradient_error"] is None else f"{row['gradient_error']:.2e}"
            errors = (f"{row['solution_error']:.2e}", f"{row['worst_sample']:.2e}", gradient)
            table.add_row(row["solver"], str(row["nfe"]), *errors, "yes" if row["adequate"] else "no")
        console.print(table)
        verdict = "adequate" if report["adequate"] else f"NOT adequate; use {report['remedy']}"
        console.print(f"The tolerance used was {verdict}.", highlight=False)
        console.print(f"The reference is sure to {report['reference_change']:.1e}.", highlight=False)
    if changed is not None:
        text = f"A thousandth of the tolerance changes {100 * changed:.1f} % of the predicted classes."
        console.print(text, highlight=False)
