"""SINDy: a sparse equation by least squares (Brunton et al. 2016), through the package pysindy."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from integrand.errors import UsageError
from integrand.outcome import Outcome
from integrand.series import Query, Series
from integrand.solvers import ODESolver
from integrand.spec import Forecast, Spec

from ..continuous.ode import DEFAULT_SOLVER
from ..series.base import Said, SeriesFamily

Array = npt.NDArray[np.float64]


class Library(nn.Module):
    """Θ: the candidates of which the equation is a linear combination.

    All monomials up to a degree, the constant first, then sin(k x) and cos(k x) of every channel.

    Args:
        names: Name of each channel.
        degree: Largest degree, 0 or more.
        frequencies: Largest k, 0 for none.
    """

    powers: Tensor

    def __init__(self, names: Sequence[str], degree: int, frequencies: int = 0) -> None:
        super().__init__()
        channels = range(len(names))
        factors = [f for n in range(degree + 1) for f in itertools.combinations_with_replacement(channels, n)]
        powers = torch.tensor([[f.count(i) for i in channels] for f in factors])
        self.register_buffer("powers", powers, persistent=False)
        self.frequencies = frequencies
        self.terms = [_monomial(names, f) for f in factors]
        for k in range(1, frequencies + 1):
            self.terms += [f"{f}({k if k > 1 else ''}{n})" for f in ("sin", "cos") for n in names]

    def forward(self, y: Tensor) -> Tensor:
        """Values of the candidates, from (batch, channels) to (batch, terms)."""
        columns = [torch.pow(y[:, None], self.powers).prod(dim=2)]
        for k in range(1, self.frequencies + 1):
            columns += [(k * y).sin(), (k * y).cos()]
        return torch.cat(columns, dim=1)


class SparseField(nn.Module):
    """ẏ = Θ(y) Ξ.

    Args:
        library: Θ.
        channels: Length of y.
    """

    def __init__(self, library: Library, channels: int) -> None:
        super().__init__()
        self.library = library
        # a parameter, so that it counts as one and moves with the weights; least squares sets it
        self.coefficients = nn.Parameter(torch.zeros(len(library.terms), channels), requires_grad=False)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Evaluate at the state y, shape (batch, channels)."""
        value: Tensor = self.library(y) @ self.coefficients
        return value


class SINDy(SeriesFamily):
    """Sparse equation found by one least-squares fit, the baseline that every learned field has to beat.

    Derivatives are those of the data where they are given (`data.learn: derivatives`), else differences along
    each window. The fit is made once, before the first epoch; there are no steps of an optimiser, and one
    epoch is enough.

    Args:
        spec: What the data set publishes; the command line fills it in.
        solver: What integrates the equation found.
        degree: Largest degree of the monomials.
        frequencies: Largest k of sin(k x) and cos(k x), 0 for none.
        threshold: Coefficients below it are set to 0, in units of the batch.
        alpha: Weight of the ridge penalty in the search for terms; those found are fitted without it.
        order: Order of the differences.
        smooth: Whether windows are smoothed before, by a polynomial of degree 3 over up to 11 observations,
            for noisy data on a regular grid.
        **kwargs: See `SeriesFamily`.

    Raises:
        UsageError: A number is out of its domain, or the state may lack values.
    """

    family = "sindy"
    title = "Sparse identification of dynamics (SINDy)"
    group = "trajectory"
    equation = "ẋ = Θ(x) Ξ, Ξ sparse by thresholded least squares"
    reference = "Brunton et al. 2016, Discovering governing equations from data, eq. 4 to 6"
    answers = (Forecast,)
    uses_solver = True

    def __init__(
        self,
        spec: Spec,
        solver: ODESolver = DEFAULT_SOLVER,
        degree: int = 3,
        frequencies: int = 0,
        threshold: float = 0.05,
        alpha: float = 0.0,
        order: int = 4,
        smooth: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(spec, 1, **kwargs)
        if min(degree, frequencies, threshold, alpha) < 0 or order < 1:
            raise UsageError(
                f"degree={degree}, frequencies={frequencies}, threshold={threshold}, alpha={alpha}, "
                f"order={order}",
                "give 0 or more, and an order of 1 or more",
            )
        if self.spec.missing:
            raise UsageError(
                f"{self.spec.name} may lack some channels of the state that SINDy differentiates",
                "take a family that reads the series: integrand families",
            )
        self.automatic_optimization = False
        self.solver: ODESolver = solver
        self.threshold, self.alpha, self.order, self.smooth = threshold, alpha, order, smooth
        self.field = SparseField(Library(self.spec.channel_names, degree, frequencies), self.spec.channels)

    def make_head(self, width: int) -> nn.Module:
        """None: the state is what is observed."""
        return nn.Identity()

    def configure_optimizers(self) -> None:
        """None: nothing is left to minimise."""

    def describe_solver(self) -> tuple[str, str]:
        """Solver and gradient mode in a few words."""
        return self.solver.describe(), getattr(self.solver, "gradient", "backprop")

    def forecast(self, x: Series, times: Tensor) -> Said:
        """See `SeriesFamily.forecast`; the equation is solved from the last observation."""
        asked = torch.cat([x.end[:, None], times], dim=1)
        solution = self.solver.solve(self.field, x.last, asked)
        return solution.ys[1:].transpose(0, 1), [solution.stats]

    def on_train_start(self) -> None:
        """Fit once, on what the training loader holds.

        Raises:
            UsageError: pysindy is missing, or the windows are too short to be differentiated.
        """
        loader = self.trainer.train_dataloader
        assert loader is not None
        self.fit(loader)
        if self.global_rank == 0:
            print(*self.equations(), sep="\n", flush=True)

    def step(self, batch: Any, stage: str) -> Outcome:
        """See `FamilyModule.step`; in training nothing is solved, since nothing is learned from it."""
        if stage != "train":
            outcome = super().step(batch, stage)
        else:
            x = batch[0]
            values, rates = _derivatives([batch], self._differentiation())
            loss = torch.from_numpy(self._said(values) - rates).square().mean().to(x.values)
            outcome = Outcome({"loss": loss}, len(x), {}, None, None, [], x)
        outcome.scores["terms"] = (self.field.coefficients != 0).sum().to(torch.float32)
        return outcome

    def fit(self, batches: Iterable[tuple[Series, Query]]) -> None:
        """Least squares on all batches, small coefficients set to 0 and the others fitted again.

        Args:
            batches: Series with what follows them, or with the derivatives at their last observation.

        Raises:
            UsageError: pysindy is missing, or the windows are too short to be differentiated.
        """
        sindy = require_pysindy()
        values, rates = _derivatives(batches, self._differentiation())
        theta = self.field.library(torch.from_numpy(values)).numpy()
        if self.threshold == 0:
            found = np.linalg.lstsq(theta, rates)[0]
        else:
            with warnings.catch_warnings():
                # that no coefficient is left, which the count of terms says
                warnings.simplefilter("ignore")
                search = sindy.STLSQ(threshold=self.threshold, alpha=self.alpha).fit(theta, rates)
            found = search.coef_.T
        with torch.no_grad():
            self.field.coefficients.copy_(torch.from_numpy(found))

    def equations(self) -> list[str]:
        """The equation found, a line for each channel, in units of the batch."""
        lines = []
        for name, column in zip(self.spec.channel_names, self.field.coefficients.T.tolist(), strict=True):
            terms = [
                f"{c:+.4g} {term}".removesuffix(" 1")
                for c, term in zip(column, self.field.library.terms, strict=True)
                if c
            ]
            lines.append(f"d{name}/dt = {' '.join(terms) or '0'}")
        return lines

    def _said(self, values: Array) -> Array:
        y = torch.from_numpy(values)
        return _array(self.field.library(y) @ self.field.coefficients.to(y))

    def _differentiation(self) -> Any:
        sindy = require_pysindy()
        if not self.smooth:
            return sindy.FiniteDifference(order=self.order)
        return sindy.SmoothedFiniteDifference(order=self.order, smoother_kws={"window_length": 11})


def require_pysindy() -> Any:
    """The package, which is optional.

    Raises:
        UsageError: It is missing.
    """
    try:
        import pysindy
    except ImportError as error:
        raise UsageError("SINDy needs pysindy", "pip install 'integrand[sindy]'") from error
    return pysindy


def _derivatives(batches: Iterable[tuple[Series, Query]], differentiation: Any) -> tuple[Array, Array]:
    """States and their derivatives, each (points, channels): those given, or differences in each window."""
    states, rates = [], []
    for x, query in batches:
        if query.rates is not None:
            states.append(_array(x.last))
            rates.append(_array(query.rates))
            continue
        for window, times in _windows(x, query):
            states.append(window)
            rates.append(_differences(differentiation, window, times))
    return np.concatenate(states), np.concatenate(rates)


def _windows(x: Series, query: Query) -> Iterable[tuple[Array, Array]]:
    """Values (n, channels) and times (n,) of each window, what is given and what is asked for in one."""
    there = torch.cat([x.present, query.mask.all(dim=2)], dim=1).cpu().numpy()
    values = _array(torch.cat([x.values, query.values], dim=1))
    times = _array(torch.cat([x.times, query.times], dim=1))
    for i, known in enumerate(there):
        yield values[i][known], times[i][known]


def _differences(differentiation: Any, window: Array, times: Array) -> Array:
    try:
        found: Array = np.asarray(differentiation(window, times))
    except (ValueError, IndexError, np.linalg.LinAlgError) as error:
        raise UsageError(
            f"a window of {len(window)} observations is too short for differences: {error}",
            "raise data.horizon, lower model.order, or learn from derivatives",
        ) from error
    return found


def _array(x: Tensor) -> Array:
    return np.asarray(x.detach().cpu().double().numpy())


def _monomial(names: Sequence[str], factors: Sequence[int]) -> str:
    powers = {names[i]: factors.count(i) for i in factors}
    return " ".join(f"{n}^{p}" if p > 1 else n for n, p in powers.items()) or "1"
