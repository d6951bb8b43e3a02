"""Kennedy and Carpenter's additive method of order 4, for fields with a stiff and another part."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from ..accounts import Counted
from ..errors import SolverOptionError
from ..problem import Problem
from ..solution import SolveStats
from .diagonal import DIRKSolver
from .dirk import DIRKStepper
from .newton import Newton
from .split import CountedParts, Part, SplitField
from .step import Stepper
from .tableau import DIRKTableau

_B = (82889 / 524892, 0.0, 15625 / 83664, 69875 / 102672, -2260 / 8211, 1 / 4)


class KenCarp4(DIRKSolver):
    """Kennedy and Carpenter (2003), ARK4(3)6L[2]SA: order 4; the stiff part's method is L-stable.

    Takes a `SplitField`. The stages are implicit in its part `implicit` alone, whose Jacobian is taken; the
    part `explicit` is evaluated once per stage. An evaluation of either part counts one.
    """

    order: ClassVar[int | None] = 4
    tableau: ClassVar[DIRKTableau] = DIRKTableau(
        gamma=1 / 4,
        c=(0.0, 1 / 2, 83 / 250, 31 / 50, 17 / 20, 1.0),
        a=(
            (),
            (1 / 4,),
            (8611 / 62500, -1743 / 31250),
            (5012029 / 34652500, -654441 / 2922500, 174375 / 388108),
            (15267082809 / 155376265600, -71443401 / 120774400, 730878875 / 902184768, 2285395 / 8070912),
            _B[:5],
        ),
        b=_B,
        b_low=(
            4586570599 / 29645900160,
            0.0,
            178811875 / 945068544,
            814220225 / 1159782912,
            -3700637 / 11593932,
            61727 / 225920,
        ),
        error_order=3,
        explicit=(
            (),
            (1 / 2,),
            (13861 / 62500, 6889 / 62500),
            (
                -116923316275 / 2393684061468,
                -2731218467317 / 15368042101831,
                9408046702089 / 11113171139209,
            ),
            (
                -451086348788 / 2902428689909,
                -2682348792572 / 7519795681897,
                12662868775082 / 11960479115383,
                3355817975965 / 11060851509271,
            ),
            (
                647845179188 / 3216320057751,
                73281519250 / 8382639484533,
                552539513391 / 3454668386233,
                3354512671639 / 8306763924573,
                4040 / 17871,
            ),
        ),
    )

    def _prepared(self, field: nn.Module, stats: SolveStats, problem: Problem) -> tuple[Counted, Stepper]:
        if not isinstance(field, SplitField):
            raise SolverOptionError(
                f"KenCarp4 takes a field split in two, not {type(field).__name__}",
                "derive it from SplitField and write explicit(t, y) and implicit(t, y), or use Kvaerno5",
            )
        stiff, other = (self._counted(Part(field, name), stats, problem) for name in ("implicit", "explicit"))
        newton = Newton(stiff, self.rtol, self.atol)
        stepper = DIRKStepper(self.tableau, stiff, other, newton, self._maker(problem), self._clock(problem))
        return CountedParts(stiff, other), stepper
