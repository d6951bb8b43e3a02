"""The perceptron that the vector fields of these families are made of."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from integrand.errors import UsageError


def perceptron(
    inputs: int,
    hidden: int,
    outputs: int,
    depth: int,
    activation: Callable[[], nn.Module] = nn.SiLU,
    last: Callable[[], nn.Module] | None = None,
) -> nn.Sequential:
    """`depth` hidden layers of one width, and a linear map.

    Args:
        inputs: Length of what it reads.
        hidden: Width of the hidden layers.
        outputs: Length of what it says.
        depth: Number of hidden layers.
        activation: Makes what stands behind each hidden layer.
        last: Makes what stands behind the linear map; nothing where omitted.

    Raises:
        UsageError: A width or the depth is below 1.
    """
    if min(hidden, depth) < 1:
        raise UsageError(f"hidden={hidden}, depth={depth}", "set model.hidden and model.depth to 1 or more")
    layers: list[nn.Module] = []
    for width in (inputs, *[hidden] * (depth - 1)):
        layers += [nn.Linear(width, hidden), activation()]
    layers.append(nn.Linear(hidden, outputs))
    return nn.Sequential(*layers, *([] if last is None else [last()]))
