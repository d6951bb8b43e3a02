"""Steinebach's Rosenbrock method of order 5, for small stiff states."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from ..accounts import Counted
from ..errors import SolverOptionError
from ..problem import Problem
from ..solution import SolveStats
from .base import ImplicitSolver
from .rosenbrock import RosenbrockStepper
from .step import Stepper
from .tableau import RosenbrockTableau

GAMMA = 0.21193756319429014
LARGEST_STATE = 1024
_A6 = (-7.502846399306121, 2.561846144803919, -11.627539656261098, -0.18268767659942256, 0.030198172008377946)


class Rodas5P(ImplicitSolver):
    """Steinebach (2023), 5(4): order 5, eight linear systems per step, L-stable, stiffly accurate.

    The Jacobian of every sample is taken at every step and there is no iteration, so no stage can fail to
    converge: the best method here for evaluation, and for states of up to about 16 components. Its gradient
    is exact and has derivatives of its own, but takes second derivatives of the field, d at a time; for
    training on larger states `Kvaerno5` is cheaper. A field that changes with t must do so differentiably.
    """

    order: ClassVar[int | None] = 5
    tableau: ClassVar[RosenbrockTableau] = RosenbrockTableau(
        gamma=GAMMA,
        c=(
            0.0,
            0.6358126895828704,
            0.4095798393397535,
            0.9769306725060716,
            0.4288403609558664,
            1.0,
            1.0,
            1.0,
        ),
        a=(
            (),
            (3.0,),
            (2.849394379747939, 0.45842242204463923),
            (-6.954028509809101, 2.489845061869568, -10.358996098473584),
            (2.8029986275628964, 0.5072464736228206, -0.3988312541770524, -0.04721187230404641),
            _A6,
            (*_A6, 1.0),
            (*_A6, 1.0, 1.0),
        ),
        m=(
            (),
            (-14.155112264123755,),
            (-17.97296035885952, -2.859693295451294),
            (147.12150275711716, -1.41221402718213, 71.68940251302358),
            (165.43517024871676, -0.4592823456491126, 42.90938336958603, -5.961986721573306),
            (
                24.854864614690072,
                -3.0009227002832186,
                47.4931110020768,
                5.5814197821558125,
                -0.6610691825249471,
            ),
            (
                30.91273214028599,
                -3.1208243349937974,
                77.79954646070892,
                34.28646028294783,
                -19.097331116725623,
                -28.087943162872662,
            ),
            (
                37.80277123390563,
                -3.2571969029072276,
                112.26918849496327,
                66.9347231244047,
                -40.06618937091002,
                -54.66780262877968,
                -9.48861652309627,
            ),
        ),
        d=(
            0.21193756319429014,
            -0.42387512638858027,
            -0.3384627126235924,
            1.8046452872882734,
            2.325825639765069,
            0.0,
            0.0,
            0.0,
        ),
        b=(*_A6, 1.0, 1.0, 1.0),
        e=(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0),
        error_order=4,
        dense=(
            (
                25.948786856663858,
                -2.5579724845846235,
                10.433815404888879,
                -2.3679251022685204,
                0.524948541321073,
                1.1241088310450404,
                0.4272876194431874,
                -0.17202221070155493,
            ),
            (
                -9.91568850695171,
                -0.9689944594115154,
                3.0438037242978453,
                -24.495224566215796,
                20.176138334709044,
                15.98066361424651,
                -6.789040303419874,
                -6.710236069923372,
            ),
            (
                11.419903575922262,
                2.8879645146136994,
                72.92137995996029,
                80.12511834622643,
                -52.072871366152654,
                -59.78993625266729,
                -0.15582684282751913,
                4.883087185713722,
            ),
        ),
    )

    def _prepared(self, field: nn.Module, stats: SolveStats, problem: Problem) -> tuple[Counted, Stepper]:
        d = problem.y0[0].numel()
        if d > LARGEST_STATE:
            raise SolverOptionError(
                f"Rodas5P factors every Jacobian and takes up to {LARGEST_STATE} components, not {d}",
                "use Kvaerno5, which then solves by GMRES, or an explicit method such as Tsit5",
            )
        counted = self._counted(field, stats, problem)
        span = problem.times[-1] - problem.times[0]
        return counted, RosenbrockStepper(self.tableau, counted, self._clock(problem), span)
