"""Scores that sampling runs left in an MLflow store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from integrand.errors import UsageError
from integrand.record import RunRecord

from ..records import store

SAMPLING = "sampling"
"""Value of the tag `role` of runs that sample."""
FLOOR = "_floor"


@dataclass(frozen=True)
class SampleScore:
    """One model sampled once.

    Args:
        run_id: The sampling run.
        model: Run that trained the model.
        sampler: Short name, with grid and guidance as the user named them told apart by `setting`.
        setting: Time grid and guidance in words; empty where there are none.
        budget: Network evaluations per sample that were allowed.
        nfe: Evaluations that were spent.
        seconds: Time that sampling took.
        n: Number of samples.
        seed: Their seed.
        failed: Samples that were not finite.
        scores: By name.
        floors: What data score against data, by the name of the score.
        started: When, in seconds since 1970.
    """

    run_id: str
    model: RunRecord
    sampler: str
    setting: str
    budget: int
    nfe: float
    seconds: float
    n: int
    seed: int
    failed: int
    scores: dict[str, float] = field(default_factory=dict)
    floors: dict[str, float] = field(default_factory=dict)
    started: float = 0.0


def load_samples(
    experiment: str | None = None, run_ids: Sequence[str] = (), tracking_uri: str | None = None
) -> list[SampleScore]:
    """What `integrand sweep-samplers` recorded of the runs of an experiment, or of runs.

    Args:
        experiment: Name of the experiment or suite; None searches all.
        run_ids: Only these training runs, each a run id or the beginning of one.
        tracking_uri: The store; None takes the default one.

    Raises:
        UsageError: No such run, or none of them has been sampled by a sweep.
        TrackingError: The store cannot be read.
    """
    models = {r.run_id: r for r in store.load_mlflow(experiment, run_ids, "", tracking_uri)}
    found = []
    for run in store.search(experiment, f"tags.{store.ROLE} = '{SAMPLING}'", tracking_uri):
        model = models.get(run.data.tags.get(store.PARENT_RUN, ""))
        score = _score(run, model) if model is not None else None
        if score is not None:
            found.append(score)
    if not found:
        where = f"experiment {experiment!r}" if experiment else "these runs"
        raise UsageError(
            f"nothing of {where} has been sampled by a sweep", "integrand sweep-samplers --run ID comes first"
        )
    return found


def _score(run: Any, model: RunRecord) -> SampleScore | None:
    """None of runs that scored nothing: `integrand sample`, and sweeps that are going on or were killed."""
    params, metrics = run.data.params, run.data.metrics
    failed = int(metrics.get("failed", 0))
    floors = {k.removesuffix(FLOOR): v for k, v in metrics.items() if k.endswith(FLOOR)}
    scores = {name: metrics[name] for name in floors if name in metrics}
    if "sampler_name" not in params or not (scores or failed):
        return None
    parts = [params.get("grid"), f"guidance {params['guidance']}" if params.get("guidance") else None]
    return SampleScore(
        run_id=run.info.run_id,
        model=model,
        sampler=params["sampler_name"],
        setting=", ".join(p for p in parts if p),
        budget=int(params["nfe"]),
        nfe=metrics.get("nfe", float(params["nfe"])),
        seconds=metrics.get("seconds", 0.0),
        n=int(params["n"]),
        seed=int(params["seed"]),
        failed=failed,
        scores=scores,
        floors=floors,
        started=(run.info.start_time or 0) / 1000,
    )
