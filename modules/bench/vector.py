"""The benches for vectors: points of the plane, rows of a table."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from integrand.errors import UsageError
from integrand.spec import Spec, VectorSpec

from .base import Bench, DynamicsMaker, Stage, with_equal_ends
from .net import BenchNet

Activation = Literal["tanh", "softplus"]
"""σ of a field; both are smooth, as solvers of high order need it."""
ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "softplus": nn.Softplus}


class VectorField(nn.Module):
    """f(t, h) = W₃ σ(W₂ σ(W₁ [h; t] + b₁) + b₂) + b₃.

    The field of the papers' experiments in the plane (Dupont et al. 2019, appendix F, with ReLU). The same
    class is residual function and vector field, so that only the integrator differs between families.

    Args:
        channels: Length of the state that f reads.
        out_channels: Length of f; the same as `channels` where omitted.
        time_dependent: Whether t enters.
        hidden: Width of both hidden layers.
        activation: σ.
        orthogonal: Whether the weights start orthogonal, as those of Greydanus et al. (2019).

    Attributes:
        scale: Factor in front of f; a map that takes steps of sampling has their length here, so that it
            starts near the identity, as the flow over a short time is.
    """

    scale: float = 1.0

    def __init__(
        self,
        channels: int,
        out_channels: int | None = None,
        time_dependent: bool = False,
        hidden: int = 32,
        activation: Activation = "tanh",
        orthogonal: bool = False,
    ) -> None:
        super().__init__()
        self.time_dependent = time_dependent
        self.net = nn.Sequential(
            nn.Linear(channels + int(time_dependent), hidden),
            ACTIVATIONS[activation](),
            nn.Linear(hidden, hidden),
            ACTIVATIONS[activation](),
            nn.Linear(hidden, out_channels or channels),
        )
        if orthogonal:
            for layer in self.net:
                if isinstance(layer, nn.Linear):
                    nn.init.orthogonal_(layer.weight)

    def forward(self, t: Tensor, h: Tensor) -> Tensor:
        """Evaluate at the scalar t and the state h of shape (batch, channels)."""
        if self.time_dependent:
            # h.shape[0], not len(h), which would fix the size of a batch in an exported graph
            h = torch.cat([h, t.to(h.dtype).expand(h.shape[0], 1)], dim=1)
        value: Tensor = self.net(h)
        return value if self.scale == 1.0 else self.scale * value


class VectorMomentum(nn.Module):
    """[h; m(0)] with m(0) computed from h by a net with one hidden layer.

    Args:
        channels: Length of h.
        hidden: Width of the hidden layer.
    """

    def __init__(self, channels: int, hidden: int = 32) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(channels, hidden), nn.Tanh(), nn.Linear(hidden, channels))

    def forward(self, h: Tensor) -> Tensor:
        """From (batch, channels) to (batch, 2 · channels)."""
        return torch.cat([h, self.net(h)], dim=1)


class VectorBench(Bench):
    """Base of the benches for vectors.

    Args:
        hidden: Width of the hidden layers of fields and of the net that makes the initial momentum.

    Raises:
        UsageError: hidden is below 1.
    """

    takes = VectorSpec

    def __init__(self, hidden: int = 32) -> None:
        if hidden < 1:
            raise UsageError(f"hidden must be at least 1, got {hidden}", "set model.layout.hidden")
        self.hidden = hidden

    def stage(self, channels: int) -> Stage:
        """What dynamics on vectors are built from."""
        return Stage(channels, self.field, lambda n: VectorMomentum(n, self.hidden), axes=0)

    def field(
        self, channels: int, out_channels: int | None = None, time_dependent: bool = False
    ) -> nn.Module:
        """The field of vectors."""
        return VectorField(channels, out_channels, time_dependent, self.hidden)


class SharedVectors(VectorBench):
    """The shared bench for vectors: linear stem, one stage, linear head.

    Args:
        hidden: Width of the hidden layers of fields and of the net that makes the initial momentum.
    """

    def assemble(self, spec: Spec, channels: int, make: DynamicsMaker, outputs: int) -> BenchNet:
        """One stage; see `Bench.assemble`."""
        dynamics = make(self.stage(channels))
        return with_equal_ends(
            dynamics,
            lambda: nn.Linear(spec.input_size, channels),
            lambda: nn.Linear(dynamics.out_channels, outputs),
        )


class FirstComponents(nn.Module):
    """The first components of the final state: a read-out without weights.

    Args:
        outputs: How many.
    """

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, h: Tensor) -> Tensor:
        """From (batch, channels) to (batch, outputs)."""
        return h[:, : self.outputs]


class VectorState(VectorBench):
    """No stem: the solver moves the input itself, as in the papers' experiments in the plane.

    There a flow that keeps the input's dimension cannot tell an annulus from the disc inside it, which a stem
    with more channels would (Dupont et al. 2019, proposition 2). `channels` is the length of the input.

    Args:
        hidden: Width of the hidden layers of fields and of the net that makes the initial momentum.
        linear_head: Whether a linear layer reads the final state; otherwise the outputs are its first
            components, so that no weight outside of the dynamics can solve the task.
    """

    def __init__(self, hidden: int = 32, linear_head: bool = True) -> None:
        super().__init__(hidden)
        self.linear_head = linear_head

    def assemble(self, spec: Spec, channels: int, make: DynamicsMaker, outputs: int) -> BenchNet:
        """One stage on the input; see `Bench.assemble`."""
        if channels != spec.input_size:
            raise UsageError(
                f"channels={channels}, but the state is the input, which has {spec.input_size} components",
                f"set model.channels to {spec.input_size}",
            )
        dynamics = make(self.stage(channels))
        width = dynamics.out_channels
        if not self.linear_head and width < outputs:
            raise UsageError(
                f"a state of {width} components cannot say {outputs} numbers",
                "set model.layout.linear_head to true",
            )
        return with_equal_ends(
            dynamics,
            nn.Identity,
            lambda: nn.Linear(width, outputs) if self.linear_head else FirstComponents(outputs),
        )
