"""FractalNet with local and global drop-path (Larsson et al. 2017)."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from integrand.errors import UsageError
from integrand.spec import Spec

from ..bench import BenchFamily, Stage
from ..bench.linear import linear_map
from ..bench.norm import group_norm
from .stepping import Evaluator, State, SteppedDynamics, require_variant

DropPath = Literal["none", "local", "global", "mixed"]


class Unit(nn.Module):
    """One layer of a fractal, conv(ReLU(norm(z))), with a matrix in place of the convolution on vectors.

    Args:
        channels: Channels of the state.
        axes: Axes of a state behind its channels.
    """

    def __init__(self, channels: int, axes: int = 2) -> None:
        super().__init__()
        self.norm = group_norm(channels)
        self.conv = linear_map(channels, channels, axes)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Evaluate at the state y of shape (batch, channels, …); t is not used."""
        value: Tensor = self.conv(torch.relu(self.norm(y)))
        return value


class FractalDynamics(SteppedDynamics):
    """x_{n+1} = f_C(x_n) with f_1 = conv and f_{C+1} = join(f_C ∘ f_C, conv); no residual path.

    Written out, a block is C columns of 1, 2, 4, … 2^{C−1} units over 2^{C−1} rows. Columns that end at the
    same row meet in one join, the mean of its inputs. Drop-path samples one subnetwork for each training
    batch: `local` drops every input of every join with probability `drop_rate`, but never all of them;
    `global` keeps one column of the whole net; `mixed` is global with probability `global_ratio` and local
    otherwise. What a subnetwork does not use is not evaluated.

    Args:
        channels: Channels of the hidden state.
        blocks: Number of fractals, 1 or more.
        columns: Number C of columns, 1 or more.
        drop_path: How subnetworks are drawn in training.
        drop_rate: Probability that a join drops an input.
        global_ratio: Share of batches that `mixed` gives to one column.
        axes: Axes of a state behind its channels.

    Raises:
        UsageError: A number is out of its range, or there is no such drop-path.
    """

    scheme = "fractal"

    def __init__(
        self,
        channels: int,
        blocks: int,
        columns: int,
        drop_path: DropPath,
        drop_rate: float,
        global_ratio: float,
        axes: int = 2,
    ) -> None:
        super().__init__(channels, blocks)
        require_variant("drop_path", drop_path, DropPath)
        if columns < 1:
            raise UsageError(f"columns must be at least 1, got {columns}", "set model.columns")
        for name, value in (("drop_rate", drop_rate), ("global_ratio", global_ratio)):
            if not 0 <= value <= 1:
                raise UsageError(f"{name} must lie between 0 and 1, got {value}", f"set model.{name}")
        self.columns, self.rows = columns, 2 ** (columns - 1)
        self.drop_path, self.drop_rate, self.global_ratio = drop_path, drop_rate, global_ratio
        self.units = nn.ModuleDict(
            {
                f"block{n}_column{c}_unit{i}": Unit(channels, axes)
                for n in range(blocks)
                for c in range(columns)
                for i in range(2**c)
            }
        )
        self.only: int | None = None
        """The column that the current subnetwork consists of; None for joins."""

    def residuals(self) -> list[nn.Module]:
        """The units of every column of every block."""
        return list(self.units.values())

    def draw_column(self) -> int | None:
        """The column that a training batch is sent through, None where the joins decide."""
        if self.drop_path in ("none", "local"):
            return None
        if self.drop_path == "mixed" and torch.rand(()).item() >= self.global_ratio:
            return None
        return int(torch.randint(self.columns, ()).item())

    def draw_inputs(self, ending: list[int]) -> list[int]:
        """Which of the columns that end at a join it reads.

        Args:
            ending: The columns, at least one.
        """
        if self.only is not None:
            return [self.only]
        if not self.training or self.drop_path in ("none", "global") or len(ending) == 1:
            return ending
        kept = [c for c in ending if torch.rand(()).item() >= self.drop_rate]
        return kept or [ending[int(torch.randint(len(ending), ()).item())]]

    def start(self, x: Tensor) -> State:
        """The hidden state; draws the column of this batch."""
        self.only = self.draw_column() if self.training else None
        return (x,)

    def step(self, n: int, state: State, f: Evaluator) -> State:
        """One fractal."""
        joined: dict[int, Tensor] = {0: state[0]}

        def join(row: int) -> Tensor:
            """The state below a row, evaluated where something reads it."""
            if row not in joined:
                ending = [c for c in range(self.columns) if row % self.span(c) == 0]
                branches = []
                for c in self.draw_inputs(ending):
                    span = self.span(c)
                    unit = self.units[f"block{n}_column{c}_unit{row // span - 1}"]
                    branches.append(f(unit, join(row - span)))
                joined[row] = torch.stack(branches).mean(0) if len(branches) > 1 else branches[0]
            return joined[row]

        return (join(self.rows),)

    def span(self, column: int) -> int:
        """How many rows a unit of a column spans."""
        return int(self.rows // 2**column)


class FractalNet(BenchFamily):
    """FractalNet: self-similar columns of convolutions joined by means, without residual connections.

    Args:
        spec: What the data set publishes; the command line fills it in.
        channels: Channels of the hidden state; by default 32, or those of the state that is observed.
        blocks: Number of fractals.
        columns: Number C of columns; a fractal has 2^C − 1 units, its longest path 2^{C−1}.
        drop_path: `none`, `local` (joins drop inputs), `global` (one column), or `mixed`, for each batch.
        drop_rate: Probability that a join drops an input.
        global_ratio: Share of batches that `mixed` gives to one column.
        **kwargs: See `BenchFamily`.
    """

    family = "fractalnet"
    title = "FractalNet"
    group = "discrete"
    equation = "f_1 = conv, f_{C+1} = mean(f_C ∘ f_C, conv)"
    reference = "Larsson et al. 2017, FractalNet: Ultra-Deep Neural Networks without Residuals"
    stochastic = True
    skips_parameters = True
    staged = False  # its blocks change no resolution, and the paper has none that do

    def __init__(
        self,
        spec: Spec,
        channels: int | None = None,
        blocks: int = 2,
        columns: int = 3,
        drop_path: DropPath = "mixed",
        drop_rate: float = 0.15,
        global_ratio: float = 0.5,
        **kwargs: Any,
    ) -> None:
        def make(stage: Stage) -> FractalDynamics:
            n = stage.blocks(blocks)
            return FractalDynamics(stage.channels, n, columns, drop_path, drop_rate, global_ratio, stage.axes)

        super().__init__(spec, make, channels=channels, **kwargs)
