"""Shake-shake: two residual branches in random proportion (Gastaldi 2017)."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from integrand.errors import UsageError
from integrand.solvers import Solution, SolveStats

from ..bench import Dynamics, Noise
from ..bench.dynamics import Composition
from ..bench.noise_contract import Part
from .steps import Granularity, mask_shape, require_per

Mode = Literal["shake-shake", "shake-keep", "shake-even", "even-shake", "even-even"]
MODES = ("shake-shake", "shake-keep", "shake-even", "even-shake", "even-even")


class Shake(torch.autograd.Function):
    """α a + (1 − α) b, differentiated as if it were β a + (1 − β) b."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, alpha: Tensor | float, beta: Tensor | float) -> Tensor:
        """See the class; α and β broadcast against a and b."""
        ctx.beta = beta
        return alpha * a + (1 - alpha) * b

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """The gradient in the proportions β and 1 − β."""
        (gradient,) = gradients
        return ctx.beta * gradient, (1 - ctx.beta) * gradient, None, None


class ShakeShake(Noise):
    """x_{n+1} = x_n + α f₁(x_n) + (1 − α) f₂(x_n), α ~ U(0, 1); backwards with an independent β; ½ at test.

    Drift ½(f₁ + f₂), and noise (α − ½)(f₁ − f₂) of variance (f₁ − f₂)²/12. Every residual function gets a
    second branch of the same form with weights of its own, which doubles parameters and evaluations; both
    are counted.

    Args:
        mode: What the two passes do, forward then backward: `shake` draws, `even` takes ½, `keep` takes the
            forward draw again.
        per: What a draw is for: each `image`, or the `batch`.

    Raises:
        UsageError: There is no such mode.
    """

    fits: ClassVar[tuple[Composition, ...]] = ("linear",)
    reasons: ClassVar[Mapping[Composition, str]] = {
        "field": "an evaluation is no step, so that a draw would have no place in time",
        "stages": "its residual functions act on each other, so that no step is a mean of two branches",
    }
    where = "a net with one residual function per step, such as ResNet"

    def __init__(self, mode: Mode = "shake-shake", per: Granularity = "image") -> None:
        super().__init__()
        if mode not in MODES:
            raise UsageError(
                f"unknown mode {mode!r}", f"set model.noise.init_args.mode to one of {', '.join(MODES)}"
            )
        self.ahead, _, self.back = mode.partition("-")
        self.per = require_per(per, "image", "batch")
        self.branches = nn.ModuleList()

    @property
    def stochastic(self) -> bool:
        """Whether the output is random in training; a random gradient alone does not count."""
        return self.ahead == "shake"

    def enter(self, dynamics: Dynamics, parts: Sequence[Part]) -> None:
        """Give every residual function its second branch; see `Noise.enter`."""
        account = _Account()
        dynamics.register_forward_pre_hook(account.begin)
        dynamics.register_forward_hook(account.end)
        for field in dict.fromkeys(f for part in parts for f in part.residuals()):
            branch = second_branch(field)
            self.branches.append(branch)
            field.register_forward_hook(_Pair(self, branch, account).join)

    def join(self, a: Tensor, b: Tensor) -> Tensor:
        """The two branches in the proportions of the present mode."""
        if not self.training:
            return 0.5 * (a + b)
        alpha = self._draw(a) if self.ahead == "shake" else 0.5
        beta = self._draw(a) if self.back == "shake" else alpha if self.back == "keep" else 0.5
        value: Tensor = Shake.apply(a, b, alpha, beta)  # type: ignore[no-untyped-call]  # torch
        return value

    def _draw(self, like: Tensor) -> Tensor:
        return torch.rand(mask_shape(like, self.per), dtype=like.dtype, device=like.device)


def second_branch(field: nn.Module) -> nn.Module:
    """A copy of a residual function with weights of its own, drawn anew by every layer.

    Raises:
        UsageError: A layer has parameters, but no way to draw them.
    """
    branch = copy.deepcopy(field)
    for module in branch.modules():
        if not any(True for _ in module.parameters(recurse=False)):
            continue
        reset = getattr(module, "reset_parameters", None)
        if reset is None:
            raise UsageError(
                f"ShakeShake cannot make a second {type(field).__name__}: its {type(module).__name__} has no "
                "reset_parameters()",
                "use it on a family of pre-activation blocks, such as ResNet",
            )
        reset()
    return branch


class _Account:
    """Adds the evaluations of second branches to the account of each solve."""

    def __init__(self) -> None:
        self.calls = 0
        self.stats: list[SolveStats] = []
        """The account of the solve, once there is one."""

    def begin(self, dynamics: nn.Module, inputs: tuple[Any, ...]) -> None:
        self.calls, self.stats = 0, []

    def end(self, dynamics: nn.Module, inputs: tuple[Any, ...], solution: Solution) -> None:
        solution.stats.nfe_forward += self.calls
        self.stats.append(solution.stats)

    def watch(self, value: Tensor) -> None:
        """A second branch was evaluated."""
        self.calls += 1
        stats = self.stats  # of this solve: the next one has a list of its own

        def differentiated(_: Tensor) -> None:
            for account in stats:
                account.vjps += 1

        if value.requires_grad:
            value.register_hook(differentiated)  # type: ignore[no-untyped-call]  # torch

    def __deepcopy__(self, memo: dict[int, Any]) -> _Account:
        new = memo[id(self)] = _Account()
        return new


class _Pair:
    """A residual function, whose hook this is, and its second branch."""

    def __init__(self, noise: ShakeShake, branch: nn.Module, account: _Account) -> None:
        self.noise, self.branch, self.account = noise, branch, account

    def join(self, field: nn.Module, inputs: tuple[Tensor, Tensor], value: Tensor) -> Tensor:
        """What takes the place of the value of the first branch."""
        other = self.branch(*inputs)
        self.account.watch(other)
        return self.noise.join(value, other)
