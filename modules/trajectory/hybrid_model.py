"""Hybrid model: a known law with a network for what it leaves out (Rackauckas et al. 2020)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from integrand.errors import UsageError
from integrand.outcome import Outcome
from integrand.series import Query, Series
from integrand.solvers import ODESolver
from integrand.spec import Forecast, SeriesSpec, Spec

from ..bench import BenchFamily, Stage
from ..continuous.ode import DEFAULT_SOLVER, ODEDynamics
from .laws import Law, nothing


class HybridField(nn.Module):
    """ẏ = law(t, y; φ) + f(t, y; θ).

    Args:
        law: The known part.
        parameters: Where each number φ of the law starts, by name.
        fixed: Names of those that are known and not fitted.
        unknown: f, called as `unknown(t, y)`; None where the law is the whole.

    Raises:
        UsageError: A fixed name is no parameter.
    """

    def __init__(
        self,
        law: Law,
        parameters: Mapping[str, float],
        fixed: Sequence[str] = (),
        unknown: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if strangers := [name for name in fixed if name not in parameters]:
            raise UsageError(
                f"no parameter {', '.join(strangers)} to fix", f"there are: {', '.join(parameters) or 'none'}"
            )
        self.law = law
        self.law_parameters = nn.ParameterDict(
            {n: nn.Parameter(torch.tensor(float(v)), n not in fixed) for n, v in parameters.items()}
        )
        self.unknown = unknown

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Evaluate at the state y, shape (batch, channels)."""
        known = self.law(t, y, dict(self.law_parameters.items()))
        return known if self.unknown is None else known + self.unknown(t, y)


class HybridModel(BenchFamily):
    """Universal differential equation: a law that you write down, its numbers, and a network for the rest.

    The law is a function `f(t, y, parameters)` of your own, given by its import path; see
    `integrand.modules.trajectory.laws`. A network can take over any part of a law, so that the numbers are
    identified only as far as it is kept small: `penalty` weighs its mean square at the training data, and the
    numbers then are those with which the law explains most. They are recorded as `parameter_<name>`.

    Args:
        spec: What the data set publishes; the command line fills it in.
        channels: Channels of the state, by default those of the data.
        law: The known part of dy/dt, in the units of a batch.
        parameters: Where each number of the law starts, by name.
        fixed: Names of those that are known and not fitted.
        network: Whether there is a network beside the law.
        penalty: Weight λ of λ·mean‖f‖², 0 or more.
        solver: What integrates the field.
        t1: End of the interval [0, t1] of a pass without times.
        time_dependent: Whether the network sees t; by default where the law may change.
        **kwargs: See `BenchFamily`.

    Raises:
        UsageError: The penalty is negative, a fixed name is no parameter, or nothing is left to fit.
    """

    family = "hybrid-model"
    title = "Hybrid model (universal differential equation)"
    group = "trajectory"
    equation = "ẏ = law(t, y; φ) + f(t, y; θ), min loss + λ mean‖f‖²"
    reference = (
        "Rackauckas et al. 2020, Universal Differential Equations for Scientific Machine Learning, eq. 2"
    )
    takes = (SeriesSpec,)
    answers = (Forecast,)
    uses_solver = True

    def __init__(
        self,
        spec: Spec,
        channels: int | None = None,
        law: Callable[..., Any] = nothing,  # a law of one's own need not be annotated
        parameters: dict[str, float] | None = None,
        fixed: Sequence[str] = (),
        network: bool = True,
        penalty: float = 1.0,
        solver: ODESolver = DEFAULT_SOLVER,
        t1: float = 1.0,
        time_dependent: bool | None = None,
        **kwargs: Any,
    ) -> None:
        if penalty < 0:
            raise UsageError(f"penalty must be 0 or more, got {penalty}", "set model.penalty, a weight")
        numbers = parameters or {}
        if not network and not set(numbers) - set(fixed):
            raise UsageError("nothing is left to fit", "set model.network to true, or name parameters")

        def make(stage: Stage) -> ODEDynamics:
            unknown = stage.field(stage.channels, time_dependent=time_dependent) if network else None
            if unknown is not None:
                _hush(unknown)
            return ODEDynamics(HybridField(law, numbers, fixed, unknown), solver, t1, stage.channels)

        super().__init__(spec, make, channels=channels, **kwargs)
        self.weight = penalty

    @property
    def field(self) -> HybridField:
        """The law and the network."""
        field = self.net.dynamics.get_submodule("field")
        assert isinstance(field, HybridField)
        return field

    def step(self, batch: tuple[Any, Any], stage: str) -> Outcome:
        """See `BenchFamily.step`; the numbers of the law are scores, and the network's size is a term."""
        outcome = super().step(batch, stage)
        for name, value in self.field.law_parameters.items():
            outcome.scores[f"parameter_{name}"] = value.detach()
        if stage == "train" and self.weight and self.field.unknown is not None:
            outcome.terms["unknown"] = self.weight * self._size(*batch, outcome)
        return outcome

    def _size(self, x: Series, query: Query, outcome: Outcome) -> Tensor:
        """mean‖f‖² at the observations; its one evaluation goes into the account of the solve."""
        assert self.field.unknown is not None
        known = query.mask.all(dim=2)
        states = torch.cat([x.last, query.values[known]]).to(next(self.parameters()))
        times = torch.cat([x.end, query.times[known]]).to(states)[:, None]
        stats = outcome.solves[0]
        stats.nfe_forward += 1
        value: Tensor = self.field.unknown(times, states)

        def differentiated(_: Tensor) -> None:
            stats.vjps += 1

        if value.requires_grad:
            value.register_hook(differentiated)  # type: ignore[no-untyped-call]  # torch
        return value.square().sum(dim=1).mean()


def _hush(f: nn.Module) -> None:
    """Let a network start a hundred times smaller, so that the law is tried first."""
    linear = [layer for layer in f.modules() if isinstance(layer, nn.Linear)]
    with torch.no_grad():
        for parameter in [p for layer in linear[-1:] for p in layer.parameters()]:
            parameter.mul_(0.01)
