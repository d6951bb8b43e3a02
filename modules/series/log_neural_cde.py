"""Log-neural controlled differential equation (Walker et al. 2024)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from integrand.errors import UsageError
from integrand.solvers import ControlledField, RungeKutta
from integrand.spec import Spec

from .perceptron import perceptron
from .windows import WindowedFamily


class BracketField(ControlledField):
    """Σᵢ λᵢ fᵢ(z) + Σ_{i<j} λᵢⱼ [fᵢ, fⱼ](z) with the Lie bracket [fᵢ, fⱼ] = Dfⱼ fᵢ − Dfᵢ fⱼ.

    With Λ antisymmetric, Λᵢⱼ = λᵢⱼ for i < j, the second sum is Σⱼ Dfⱼ vⱼ, v = f Λ: one derivative for each
    channel in place of one for each pair.

    Args:
        columns: Channels c of the path.
        depth: 1 without brackets, or 2.
    """

    def __init__(self, columns: int, depth: int) -> None:
        super().__init__()
        self.columns, self.depth = columns, depth
        pairs = torch.combinations(torch.arange(columns), 2)
        self.register_buffer("pairs", pairs.T.contiguous(), persistent=False)

    @abstractmethod
    def linearised(self, z: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """The columns fⱼ(z), shape (batch, h, c), and what takes vⱼ, shape (batch, h, c), to Dfⱼ(z) vⱼ."""

    def increment(self, t: Tensor, z: Tensor, dx: Tensor) -> Tensor:
        """See `ControlledField.increment`; dx holds λᵢ, then λᵢⱼ in lexical order."""
        f, derivative = self.linearised(z)
        flat = dx[:, : self.columns]
        total = torch.bmm(f, flat.unsqueeze(-1)).squeeze(-1)
        if self.depth == 1:
            return total
        i, j = self.get_buffer("pairs")
        areas = dx.new_zeros(len(dx), self.columns, self.columns)
        areas[:, i, j] = dx[:, self.columns :]
        return total + derivative(torch.bmm(f, areas - areas.mT)).sum(dim=-1)


class LipField(BracketField):
    """f(z), the matrix of a perceptron with SiLU inside and tanh behind: smooth, as brackets need it.

    Args:
        channels: Length h of z.
        columns: Channels c of the path.
        hidden: Width of the hidden layers.
        layers: Number of hidden layers.
        depth: 1 or 2.
    """

    def __init__(self, channels: int, columns: int, hidden: int, layers: int, depth: int) -> None:
        super().__init__(columns, depth)
        self.net = perceptron(channels, hidden, channels * columns, layers, last=nn.Tanh)

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        """The columns, shape (batch, h, c); the same at all times t."""
        value: Tensor = self.net(z)
        return value.view(*z.shape, self.columns)

    def linearised(self, z: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """See `BracketField.linearised`; forward mode by hand, the last layer at the cost of its values."""
        maps = [layer for layer in self.net if isinstance(layer, nn.Linear)]
        slopes, y = [], z
        for layer in maps[:-1]:
            a = layer(y)
            gate = torch.sigmoid(a)
            y = a * gate
            slopes.append((gate + y * (1 - gate)).unsqueeze(1))
        f = torch.tanh(maps[-1](y)).view(*z.shape, self.columns)

        def derivative(v: Tensor) -> Tensor:
            v = v.mT
            for layer, slope in zip(maps[:-1], slopes, strict=True):
                v = F.linear(v, layer.weight) * slope
            weight = maps[-1].weight.view(z.shape[1], self.columns, -1)
            return torch.einsum("bjk,hjk->bhj", v, weight) * (1 - f * f)

        return f, derivative


class LogNeuralCDE(WindowedFamily):
    """Neural RDE whose field for a window is made from the columns of a CDE's field and their Lie brackets.

    It has the parameters of the CDE, whatever the depth, and converges to it as windows shrink.

    Args:
        spec: What the data set publishes; the command line fills it in.
        channels: Length of the hidden state.
        hidden: Width of the hidden layers of the field.
        depth: Number of hidden layers of the field.
        window: Gaps between observations in a window.
        signature_depth: 1 or 2.
        counts: Whether the path tells how many values were seen; by default if values may be missing.
        solver: A Runge–Kutta method; its num_steps counts the steps of each window. One step of RK4 where
            omitted.
        **kwargs: See `SeriesFamily`.

    Raises:
        UsageError: Another depth of the log-signatures.
    """

    family = "log-neural-cde"
    title = "Log-NCDE"
    group = "series"
    equation = "ż = Σᵢ λᵢ fᵢ(z) + Σ_{i<j} λᵢⱼ [fᵢ, fⱼ](z), λ = logsig(X on the window)"
    reference = "Walker et al. 2024, Log Neural Controlled Differential Equations"
    uses_solver = True

    def __init__(
        self,
        spec: Spec,
        channels: int = 32,
        hidden: int = 32,
        depth: int = 2,
        window: int = 4,
        signature_depth: int = 2,
        counts: bool | None = None,
        solver: RungeKutta | None = None,
        **kwargs: Any,
    ) -> None:
        if signature_depth not in (1, 2):
            raise UsageError(
                f"brackets of depth {signature_depth}",
                "set model.signature_depth to 1 or 2, or take NeuralRDE",
            )

        def make(path: int, columns: int) -> LipField:
            return LipField(channels, path, hidden, depth, signature_depth)

        super().__init__(spec, channels, window, signature_depth, counts, solver, make, **kwargs)
