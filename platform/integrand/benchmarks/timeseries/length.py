"""Whether the cost of a training step grows with the length of the series and no faster."""

from __future__ import annotations

import time

import torch

from integrand.modules.series.base import SeriesFamily
from integrand.modules.series.latent_ode import LatentODE
from integrand.modules.series.ode_rnn import ODERNN
from integrand.outcome import Outcome
from integrand.series import Query, Series
from integrand.solvers import Dopri5, Euler
from integrand.spec import Forecast, SeriesSpec

from ..solvers_timing import Row
from .latent_ode import spirals

TARGET = 1.2
"""Largest ratio of the costs of an observation, of the longest series to the shortest."""
LENGTHS = (1_000, 3_000, 10_000)
BATCH = 8


def rows(seconds: float, seed: int, quick: bool) -> list[Row]:
    """Cost of an observation in series of growing length over that in the shortest.

    Args:
        seconds: Not used: each length is trained on three times.
        seed: Of weights and data.
        quick: A tenth of the lengths.
    """
    found = []
    spec = SeriesSpec("spirals", Forecast(LENGTHS[-1], 1), channels=2, length=LENGTHS[-1], irregular=True)
    torch.manual_seed(seed)
    models: dict[str, SeriesFamily] = {
        "ODE-RNN, one step of Euler in each gap": ODERNN(spec, solver=Euler(num_steps=1), unit=1.0),
        "latent ODE, GRU as encoder": LatentODE(
            spec, encoder="gru", unit=1.0, solver=Dopri5(1e-3, 1e-4, per_sample=True)
        ),
    }
    for case, model in models.items():
        costs = {n: _cost(model, n // 10 if quick else n, seed) for n in LENGTHS}
        for n in LENGTHS[1:]:
            reached, first = (m // 10 if quick else m for m in (n, LENGTHS[0]))
            ratio, nfe = costs[n][0] / costs[LENGTHS[0]][0], costs[n][1]
            problem = f"{BATCH} series of {reached:,}, cost of an observation"
            found.append(
                Row(case, problem, round(ratio, 3), f"length {first:,}", TARGET, ratio <= TARGET, 0.0, 3, nfe)
            )
    return found


def _cost(model: SeriesFamily, length: int, seed: int) -> tuple[float, int]:
    """Least CPU time of three training steps over the number of observations, and evaluations of one."""
    x = spirals(BATCH, length, 0, seed)
    x = Series(x.times * (length / 100), x.values, x.mask, x.lengths, x.static)
    query = Query(x.end[:, None] + 0.05, x.values[:, -1:], x.mask[:, -1:])
    least, outcome = float("inf"), None
    for _ in range(3):
        start = time.process_time()
        outcome = model.train().step((x, query), "train")
        outcome.loss.backward()  # type: ignore[no-untyped-call]  # torch
        least = min(least, time.process_time() - start)
    assert isinstance(outcome, Outcome)
    return least / length, sum(s.nfe_forward for s in outcome.solves)
