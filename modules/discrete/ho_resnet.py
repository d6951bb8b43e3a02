"""Higher-order residual network: a Runge–Kutta step for each block (Luo et al. 2021)."""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor, nn

from integrand.solvers.runge_kutta import RK4, RK38, Heun, Midpoint, Tableau
from integrand.solvers.runge_kutta.step import add_stages
from integrand.spec import Spec

from ..bench import BenchFamily, FieldMaker, Stage
from .stepping import Evaluator, State, SteppedDynamics, require_variant

Method = Literal["midpoint", "heun", "rk3", "heun3", "rk4", "rk38"]

TABLEAUX: dict[str, Tableau] = {
    "midpoint": Midpoint.tableau,
    "heun": Heun.tableau,
    # Kutta 1901, the third-order method with Simpson's weights
    "rk3": Tableau(c=(0.0, 1 / 2, 1.0), a=((), (1 / 2,), (-1.0, 2.0)), b=(1 / 6, 2 / 3, 1 / 6)),
    # Heun 1900, the third-order method
    "heun3": Tableau(c=(0.0, 1 / 3, 2 / 3), a=((), (1 / 3,), (0.0, 2 / 3)), b=(1 / 4, 0.0, 3 / 4)),
    "rk4": RK4.tableau,
    "rk38": RK38.tableau,
}


class HigherOrderDynamics(SteppedDynamics):
    """x_{n+1} = x_n + h Σ_i b_i k_i, k_i = f_{n,i}(x_n + h Σ_j a_ij k_j): every stage has its own weights.

    Args:
        channels: Channels of the hidden state.
        blocks: Number of blocks, 1 or more.
        method: Which tableau (a, b).
        h: Step size.
        tied_stages: Whether the stages of a block share their weights: a block is then one usual step.
        tied: Whether the blocks share their weights.
        field: Makes the residual functions.

    Raises:
        UsageError: There is no such method.
    """

    composition = "stages"
    first_order = True

    def __init__(
        self,
        channels: int,
        blocks: int,
        method: Method,
        h: float,
        tied_stages: bool,
        tied: bool,
        field: FieldMaker,
    ) -> None:
        super().__init__(channels, blocks, h)
        require_variant("method", method, Method)
        self.scheme = method
        self.tableau = TABLEAUX[method]
        self.per_block = 1 if tied_stages else self.tableau.stages
        self.fields = nn.ModuleList(field(channels) for _ in range(self.per_block * (1 if tied else blocks)))
        self.repeats = len(self.fields) < self.tableau.stages * blocks

    def residuals(self) -> list[nn.Module]:
        """The residual function of every stage."""
        return list(self.fields)

    def step(self, n: int, state: State, f: Evaluator) -> State:
        """One Runge–Kutta step."""
        (x,) = state
        stages: list[Tensor] = []
        for i, weights in enumerate(self.tableau.rows):
            y = add_stages(x, stages, weights, self.h) if weights else x
            field = self.fields[(n * self.per_block + i % self.per_block) % len(self.fields)]
            stages.append(f(field, y))
        return (add_stages(x, stages, self.tableau.step_row, self.h),)


class HOResNet(BenchFamily):
    """Higher-order residual network: each block is a Runge–Kutta step whose stages have their own weights.

    Args:
        spec: What the data set publishes; the command line fills it in.
        channels: Channels of the hidden state; by default 32, or those of the state that is observed.
        blocks: Number of blocks; each holds as many residual functions as the method has stages.
        method: `midpoint` or `heun` (2 stages), `rk3` or `heun3` (3), `rk4` or `rk38` (4).
        h: Step size.
        tied_stages: Whether the stages of a block share their weights.
        tied: Whether all blocks share their weights.
        **kwargs: See `BenchFamily`.
    """

    family = "ho-resnet"
    title = "HO-ResNet (Runge–Kutta)"
    group = "discrete"
    equation = "x_{n+1} = x_n + h Σᵢ bᵢ kᵢ, kᵢ = fᵢ(x_n + h Σⱼ aᵢⱼ kⱼ; w_{n,i})"
    reference = "Luo et al. 2021, Rethinking ResNets: Improved Stacking Strategies With High-Order Schemes"

    def __init__(
        self,
        spec: Spec,
        channels: int | None = None,
        blocks: int = 1,
        method: Method = "rk4",
        h: float = 1.0,
        tied_stages: bool = False,
        tied: bool = False,
        **kwargs: Any,
    ) -> None:
        def make(stage: Stage) -> HigherOrderDynamics:
            n = stage.blocks(blocks)
            return HigherOrderDynamics(stage.channels, n, method, h, tied_stages, tied, stage.field)

        super().__init__(spec, make, channels=channels, **kwargs)
