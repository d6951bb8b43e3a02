"""A trained network as one graph in a file, without this package: `integrand export`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from .errors import UsageError
from .modules.bench.family import BenchFamily
from .quiet import quiet
from .spec import ImageSpec, VectorSpec

Format = Literal["torch", "onnx"]
FORMATS: dict[Format, str] = {"torch": ".pt2", "onnx": ".onnx"}
"""The endings of the files."""
_ONNX = ("onnx", "onnxscript")
_ROWS = 3


class Answering(nn.Module):
    """What `integrand predict` answers for a batch: probabilities of classes, targets in their units.

    Args:
        model: The network.
    """

    def __init__(self, model: BenchFamily) -> None:
        super().__init__()
        self.net, self.task = model.net, model.task

    def forward(self, x: Tensor) -> Tensor:
        """From inputs as a batch holds them, shape (batch, …)."""
        # BenchNet gives the answer and what the solves cost
        said: Tensor = self.net(x)[0]
        return self.task.answer(said)


def export(model: BenchFamily, path: Path, fmt: Format) -> float:
    """Write a network as one graph for batches of any size, read it again and compare.

    Args:
        model: The network; it is set to evaluation mode.
        path: The file to write.
        fmt: `torch` (torch.export) or `onnx`.

    Returns:
        Largest difference between what the file and the network say of some inputs.

    Raises:
        UsageError: It cannot be one graph, a package is missing, or the file says something else.
    """
    _check(model, fmt)
    answering = Answering(model.eval()).float()
    draw = torch.Generator().manual_seed(0)
    # a batch of one would be taken for a constant
    x = torch.randn(_ROWS, *model.spec.input_shape, generator=draw)
    graph = _traced(answering, x, type(model).__name__)
    if fmt == "onnx":
        _write_onnx(graph, path, type(model).__name__)
    else:
        torch.export.save(graph, path)
    worst = 0.0
    for rows in (1, _ROWS):
        given = torch.randn(rows, *model.spec.input_shape, generator=draw)
        with torch.no_grad():
            said, expected = _read(path, fmt, given), answering(given)
        worst = max(worst, float((said - expected).abs().max()))
    # the same float32 operations in the same order, but for what a runtime fuses
    if not worst <= 1e-4 * max(1.0, float(expected.abs().max())):
        raise UsageError(
            f"{path} differs from the network by {worst:.2g}", "its graph is not the computation; report this"
        )
    return worst


def _check(model: BenchFamily, fmt: Format) -> None:
    if not isinstance(model, BenchFamily) or not isinstance(model.spec, ImageSpec | VectorSpec):
        raise UsageError(
            f"{type(model).__name__} on {model.spec.kind}s is not exported",
            "models of images and vectors that classify or regress are",
        )
    if model.components != 1:
        raise UsageError(
            f"{type(model).__name__} answers by draws, and a graph has none", "set samples to 0 in a new run"
        )
    solver = model.net.dynamics.solver
    if getattr(solver, "is_adaptive", False):
        raise UsageError(
            f"{type(model).__name__} chooses its steps by the input ({solver!r}), and a graph cannot",
            "--num-steps 20 takes RK4 with 20 equal steps in its place, and says by how much it differs",
        )
    missing = [name for name in _ONNX if fmt == "onnx" and find_spec(name) is None]
    if missing:
        raise UsageError(f"format onnx needs {' and '.join(missing)}", "pip install onnx onnxscript")


def _traced(answering: nn.Module, x: Tensor, name: str) -> torch.export.ExportedProgram:
    sizes = {"x": {0: torch.export.Dim.DYNAMIC}}
    remedy = "what it computes may depend on values, such as iterations to a tolerance: export another family"
    with _refusing(f"{name} cannot be written as one graph", remedy):
        return torch.export.export(answering, (x,), dynamic_shapes=sizes, strict=False)


def _write_onnx(graph: torch.export.ExportedProgram, path: Path, name: str) -> None:
    with _refusing(f"{name} cannot be written as ONNX", "--format torch takes every operation of torch"):
        program = torch.onnx.export(graph, dynamo=True, verbose=False)
    assert program is not None
    program.save(str(path))


@contextmanager
def _refusing(complaint: str, remedy: str) -> Iterator[None]:
    """What fails inside is a refusal in one line; what exporters remark about themselves is not shown."""
    try:
        with quiet("torch.onnx"):
            yield
    except Exception as error:  # exporters fail in many types, all of which mean this
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        lines = str(cause).strip().splitlines() or [type(cause).__name__]
        raise UsageError(f"{complaint}: {lines[0]}", remedy) from error


def _read(path: Path, fmt: Format, x: Tensor) -> Tensor:
    if fmt == "torch":
        said: Tensor = torch.export.load(path).module()(x)
        return said
    from onnx.reference import ReferenceEvaluator

    session = ReferenceEvaluator(str(path))
    names: Sequence[str] = session.input_names
    return torch.as_tensor(session.run(None, {names[0]: x.numpy()})[0])
