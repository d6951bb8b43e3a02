"""`integrand bench grids`: which time grid and sampler suit a process, by W₂ of points with an exact score.

No network is trained, so that nothing but sampling is measured. The floor is what data score against data.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from integrand.diffusion import (
    DDIM,
    EDM,
    VE,
    VP,
    BudgetError,
    CosineVP,
    DPMSolverPPMultistep,
    EDMGrid,
    EDMPreconditioning,
    ExactMixture,
    FlowPrediction,
    Heun,
    KarrasGrid,
    LinearFlow,
    LogSNRGrid,
    Parametrisation,
    Process,
    QuadraticGrid,
    SampleNoise,
    Sampler,
    SASolver,
    ShiftedGrid,
    SubVP,
    TimeGrid,
    UniformGrid,
    UniPC,
    VelocityPrediction,
    draw_prior,
)
from integrand.metrics import exact_w2

PROCESSES: dict[str, tuple[Process, Parametrisation]] = {
    "VP": (VP(), VelocityPrediction()),
    "CosineVP": (CosineVP(), VelocityPrediction()),
    "SubVP": (SubVP(), VelocityPrediction()),
    "LinearFlow": (LinearFlow(), FlowPrediction()),
    "VE": (VE(), EDMPreconditioning()),
    "EDM": (EDM(), EDMPreconditioning()),
}
SAMPLERS: dict[str, Sampler] = {
    "ddim": DDIM(),
    "ddpm": DDIM(1.0),
    "dpm_solver_pp_2m": DPMSolverPPMultistep(2),
    "unipc": UniPC(2),
    "heun": Heun(),
    "sa_solver": SASolver(),
}


class Data(NamedTuple):
    """A mixture of the plane with unit variance: its means, shape (k, 2), and their deviation."""

    means: Tensor
    std: float

    def draw(self, n: int, seed: int) -> Tensor:
        """N points, shape (n, 2)."""
        generator = torch.Generator().manual_seed(seed)
        which = torch.randint(len(self.means), (n,), generator=generator)
        z = torch.randn(n, 2, dtype=torch.float64, generator=generator)
        return self.means[which] + self.std * z


def _ring(std: float) -> Data:
    angles = torch.arange(8, dtype=torch.float64) * math.pi / 4
    radius = math.sqrt(2 * (1 - std**2))
    return Data(radius * torch.stack((angles.cos(), angles.sin()), 1), std)


DATA = {"sharp": _ring(0.05), "eight_gaussians": _ring(0.17), "broad": _ring(0.6)}
"""Details of a twentieth, a sixth and more than half of the data's deviation."""


def grids(process: Process) -> dict[str, TimeGrid]:
    """Grids that end at the data, by name."""
    found: dict[str, TimeGrid] = {
        "uniform": UniformGrid(to_zero=True),
        "quadratic": QuadraticGrid(to_zero=True),
        "log_snr": LogSNRGrid(to_zero=True),
        "karras": KarrasGrid(to_zero=True),
    }
    if isinstance(process, EDM):
        found["edm"] = EDMGrid(sigma_min=process.t_min, sigma_max=process.t_max)
    if isinstance(process, LinearFlow):
        found["shifted"] = ShiftedGrid(3.0)
        # λ is −∞ at t = 1
        found["log_snr"] = LogSNRGrid(t_start=0.999, to_zero=True)
        found["karras"] = KarrasGrid(sigma_max=999.0, to_zero=True)
    return found


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the benchmark."""
    parser.add_argument("--n", type=int, default=1000, help="points (default 1000)")
    parser.add_argument("--nfe", type=int, nargs="*", default=[5, 10, 20], help="default 5 10 20")
    parser.add_argument("--processes", nargs="*", choices=sorted(PROCESSES), help="default: all")
    parser.add_argument("--data", nargs="*", choices=sorted(DATA), help="default: all")
    parser.add_argument("--seeds", type=int, default=1, help="sets of samples and data (default 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to FILE as a JSON list")


def run(args: argparse.Namespace) -> int:
    """Measure, print a table, and write the rows."""
    console = Console(stderr=True)
    jobs = [(p, d) for p in args.processes or PROCESSES for d in args.data or DATA]
    rows = [row for job in track(jobs, "bench grids", console=console) for row in _cells(*job, args)]
    _print(rows)
    if args.json is not None:
        lines = ",\n".join(json.dumps(row) for row in rows)
        args.json.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    return 0


def _cells(name: str, kind: str, args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    process, parametrisation = PROCESSES[name]
    data = DATA[kind]
    stds = torch.full((len(data.means),), data.std, dtype=torch.float64)
    model = ExactMixture(process, data.means, stds, parametrisation=parametrisation)
    seeds = range(args.seeds)
    references = [data.draw(args.n, 2 * seed) for seed in seeds]
    floor = _mean([exact_w2(data.draw(args.n, 2 * s + 1), r) for s, r in zip(seeds, references, strict=True)])
    for grid_name, grid in grids(process).items():
        for sampler_name, sampler in SAMPLERS.items():
            for nfe in args.nfe:
                try:
                    w2 = _mean([_w2(sampler, model, grid, references[s], s, nfe) for s in seeds])
                except BudgetError:
                    continue
                keys = {"process": name, "data": kind, "grid": grid_name, "sampler": sampler_name, "nfe": nfe}
                yield {**keys, "w2": round(w2, 4), "floor": round(floor, 4), "n": args.n, "seeds": args.seeds}


def _w2(
    sampler: Sampler, model: ExactMixture, grid: TimeGrid, reference: Tensor, seed: int, nfe: int
) -> float:
    noise = SampleNoise(seed, reference.shape, dtype=torch.float64)
    x = draw_prior(model.process, grid, noise)
    result = sampler.sample(model, model.process, grid, x, noise, nfe=nfe).require_finite()
    return exact_w2(result.x, reference)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _print(rows: list[dict[str, Any]]) -> None:
    budgets = sorted({row["nfe"] for row in rows})
    table = Table(title="W₂, the best sampler of each grid")
    for column in ("process", "data", "grid", *(f"NFE {nfe}" for nfe in budgets), "data against data"):
        table.add_column(column)
    groups: dict[tuple[str, str, str], dict[int, dict[str, Any]]] = {}
    for row in rows:
        best = groups.setdefault((row["process"], row["data"], row["grid"]), {})
        if row["nfe"] not in best or row["w2"] < best[row["nfe"]]["w2"]:
            best[row["nfe"]] = row
    for key, best in groups.items():
        shown = [f"{best[n]['w2']:.3f} {best[n]['sampler']}" if n in best else "" for n in budgets]
        table.add_row(*key, *shown, f"{next(iter(best.values()))['floor']:.3f}")
    Console().print(table)
