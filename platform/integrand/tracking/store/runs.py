"""Finding runs and what they left, for the command line, `doctor` and the comparison; imports no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ...checkpoints import verify_run
from ...errors import TrackingError
from ...moved import current_evaluation
from ...quantities import mode_of
from ...record import RunRecord
from ..spool import folders
from ..spool.reader import spooled_content
from . import names
from .glance import no_such_run
from .opening import check_store, open_existing, open_store
from .refusals import checked_run
from .uris import local_path, redact, resolve_uri

__all__ = [
    "RunHandle",
    "check_store",
    "checkpoint",
    "config_path",
    "find_run",
    "find_trained",
    "read_record",
    "unevaluated",
]


@dataclass(frozen=True)
class RunHandle:
    """A recorded run.

    Args:
        run_id: MLflow run id.
        name: MLflow run name.
        status: RUNNING, FINISHED, FAILED or KILLED.
        experiment: Name of its experiment.
        artifact_uri: Where its artifacts are.
        tracking_uri: The store it is in.
        tags: Its tags.
    """

    run_id: str
    name: str
    status: str
    experiment: str
    artifact_uri: str
    tracking_uri: str
    tags: dict[str, str] = field(default_factory=dict)


def find_run(
    which: str, tracking_uri: str | None = None, experiment: str | None = None, *, client: Any = None
) -> RunHandle:
    """Find one run.

    Args:
        which: Run id, the first letters of one, a run name, `latest`, or `best`: that with the best value of
            the newest run's headline, or of another quantity with `best:val/loss`.
        tracking_uri: Store; None for the default.
        experiment: Look only in this experiment; None for all.
        client: A client of that store, if there is one already.

    Raises:
        TrackingError: There is no such run, or several begin like that.
        UsageError: Nobody knows which value of the quantity is best.
    """
    uri = resolve_uri(tracking_uri)
    client = client or open_store(uri)
    experiments = {e.experiment_id: e.name for e in _experiments(client, uri, experiment)}
    runs = [r for r in _matching(client, list(experiments), which) if is_experiment(r.data.tags)]
    if which == "latest" or which.partition(":")[0] == "best":
        runs = runs[:1]
    if not runs:
        where = f"experiment {experiment!r} of {redact(uri)}" if experiment else redact(uri)
        newest = _search(client, list(experiments), "", 3)
        raise no_such_run(which, where, [(r.info.run_id, r.info.run_name) for r in newest])
    if len(runs) > 1:
        listed = ", ".join(f"{r.info.run_id[:12]} ({r.info.run_name})" for r in runs[:4])
        raise TrackingError(f"{len(runs)} runs match {which!r}: {listed}", "give more letters of the run id")
    info = runs[0].info
    checked_run(uri, info)
    return RunHandle(
        info.run_id,
        info.run_name,
        info.status,
        experiments.get(info.experiment_id, ""),
        info.artifact_uri,
        uri,
        dict(runs[0].data.tags),
    )


def find_trained(which: str, tracking_uri: str | None = None) -> RunHandle:
    """Find the run that trained what `which` names.

    A child run, such as a test at another tolerance, trained nothing: its parent is meant.

    Args:
        which: Run id, the first letters of one, a run name, `latest` or `best`; see `find_run`.
        tracking_uri: Store; None for the default.

    Raises:
        TrackingError: There is no such run, or several begin like that.
    """
    run = find_run(which, tracking_uri)
    if (parent := run.tags.get(names.PARENT_RUN)) and names.RUN_KEY not in run.tags:
        run = find_run(parent, tracking_uri)
    return run


def unevaluated(
    experiment: str, evaluations: Sequence[str], tracking_uri: str | None = None
) -> dict[str, list[str]]:
    """The finished runs of an experiment, oldest first, with the evaluations of which they have no finding.

    Args:
        experiment: Its name.
        evaluations: Names of evaluations.
        tracking_uri: Store; None for the default.

    Returns:
        Names of the evaluations by run id; a run that has them all has an empty list.

    Raises:
        TrackingError: There is no such experiment, or no run in it has finished.
    """
    uri = resolve_uri(tracking_uri)
    client = open_existing(uri)
    ids = [e.experiment_id for e in _experiments(client, uri, experiment)]
    finished = _search(client, ids, "attributes.status = 'FINISHED'", None, "attributes.start_time ASC")
    found = {
        (r.data.tags.get(names.PARENT_RUN), current_evaluation(r.data.tags[names.EVALUATION]))
        for r in finished
        if names.EVALUATION in r.data.tags
    }
    trained = [r.info.run_id for r in finished if is_experiment(r.data.tags)]
    if not trained:
        raise TrackingError(
            f"no run of {experiment!r} has finished", f"integrand runs --experiment {experiment}"
        )
    return {run: [name for name in evaluations if (run, name) not in found] for run in trained}


def is_experiment(tags: Mapping[str, str]) -> bool:
    """Whether a run with these tags is one of a model on data, and not a suite's parent or a report."""
    return names.ROLE not in tags


def config_path(run: RunHandle) -> Path:
    """The configuration that the run was made with, as a local file for `--config`.

    Raises:
        TrackingError: The run recorded none.
    """
    for stage in ("fit", "validate", "test", "predict"):
        name = f"{names.CONFIG_DIR}/{stage}.yaml"
        # a process that was killed may not have come to sending it
        path = _artifact(run, name) or spooled_content(folders.spool_dir(run.run_id), name)
        if path is not None:
            return path
    raise TrackingError(
        f"run {run.name} ({run.run_id[:8]}) recorded no configuration",
        "it ended before that; give the configuration yourself with --config",
    )


def last_config_path(run: RunHandle) -> Path:
    """The configuration of the run's last fit: one that was gone on with may have been given more epochs.

    Raises:
        TrackingError: The run recorded none.
    """
    path, number = config_path(run), 2
    while (later := _artifact(run, f"{names.CONFIG_DIR}/fit-{number}.yaml")) is not None:
        path, number = later, number + 1
    return path


def checkpoint(run: RunHandle, which: Literal["best", "last"] = "best") -> Path:
    """The run's best or last checkpoint as a local file.

    Raises:
        TrackingError: The run has none.
        UsageError: It is damaged, or another run's.
    """
    # written locally while the artifacts go to a server, which may not have the newest yet
    path: Path | None = folders.checkpoint_dir(run.run_id) / f"{which}.ckpt"
    if path is not None and not path.exists():
        path = _artifact(run, f"{names.CHECKPOINT_DIR}/{which}.ckpt")
    if path is None or not path.exists():
        raise TrackingError(
            f"run {run.name} ({run.run_id[:8]}) has no {which} checkpoint",
            "it may have ended before its first epoch did, or ran with --trainer.enable_checkpointing false",
        )
    verify_run(path, run.run_id)
    return path


def read_record(client: Any, run_id: str) -> RunRecord | None:
    """The record of a run, None if it left none that can be read."""
    info = client.get_run(run_id).info
    folder = local_path(info.artifact_uri)
    try:
        if folder is not None:
            return RunRecord.read(folder / names.RECORD)
        target = folders.cache_dir(run_id)
        target.mkdir(parents=True, exist_ok=True)
        return RunRecord.read(Path(client.download_artifacts(run_id, names.RECORD, str(target))))
    except Exception:
        # whatever is wrong with a remote artifact store, the run itself can still be shown
        local = folders.record_path(run_id)
        try:
            return RunRecord.read(local)
        except (OSError, ValueError):
            return None


def _experiments(client: Any, uri: str, experiment: str | None) -> list[Any]:
    if experiment is None:
        return list(client.search_experiments())
    found = client.get_experiment_by_name(experiment)
    if found is None:
        known = ", ".join(sorted(e.name for e in client.search_experiments())) or "none"
        raise TrackingError(f"no experiment {experiment!r} in {redact(uri)}", f"known experiments: {known}")
    return [found]


def _matching(client: Any, experiment_ids: list[str], which: str) -> list[Any]:
    if which == "latest":
        # parents and reports are among them
        return _search(client, experiment_ids, "", 50)
    if which.partition(":")[0] == "best":
        return _best(client, experiment_ids, which.partition(":")[2])
    text = json.dumps(which)[1:-1].replace("'", "")
    if text and all(c in "0123456789abcdef" for c in text):
        runs = _search(client, experiment_ids, f"attributes.run_id LIKE '{text}%'", 10)
        if runs:
            return runs
    return _search(client, experiment_ids, f"attributes.run_name = '{text}'", 10)


def _best(client: Any, experiment_ids: list[str], quantity: str) -> list[Any]:
    """Runs with the best value of a quantity first, of the newest run's headline where it is empty."""
    if not quantity:
        newest = [r for r in _search(client, experiment_ids, "", 50) if is_experiment(r.data.tags)][:1]
        record = read_record(client, newest[0].info.run_id) if newest else None
        quantity = record.monitor.get("name", "") if record is not None else ""
        if not quantity:
            return []
    name = f"best/{quantity.replace('/', '_', 1)}" if quantity.startswith("val/") else quantity
    worst_last = "ASC" if mode_of(quantity) == "min" else "DESC"
    found = _search(client, experiment_ids, "", 50, f"metrics.`{name}` {worst_last}")
    return [run for run in found if name in run.data.metrics]


def _search(
    client: Any,
    experiment_ids: list[str],
    condition: str,
    limit: int | None,
    order: str = "attributes.start_time DESC",
) -> list[Any]:
    """Runs, newest first unless another order is given; all of them if `limit` is None."""
    found: list[Any] = []
    token = None
    while experiment_ids:
        page = client.search_runs(
            experiment_ids,
            filter_string=condition,
            max_results=limit or 1000,
            order_by=[order],
            page_token=token,
        )
        found += page
        token = page.token
        if not token or (limit is not None and len(found) >= limit):
            break
    return found if limit is None else found[:limit]


def _artifact(run: RunHandle, path: str) -> Path | None:
    """A local copy of one artifact, None where there is none."""
    folder = local_path(run.artifact_uri)
    if folder is not None:
        file = folder / path
        return file if file.exists() else None
    client = open_store(run.tracking_uri)
    target = folders.cache_dir(run.run_id)
    target.mkdir(parents=True, exist_ok=True)
    try:
        return Path(client.download_artifacts(run.run_id, path, str(target)))
    except Exception:
        # absent or unreachable look alike through every artifact store
        return None
