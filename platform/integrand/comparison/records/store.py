"""Run records from an MLflow store."""

from __future__ import annotations

import difflib
import logging
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from integrand.errors import TrackingError, UsageError
from integrand.moved import current_evaluation
from integrand.record import RunRecord

from .checkpoints import name_checkpoints
from .filters import as_group, nothing_evaluated, only, slim
from .foreign import from_settings, whole
from .groups import evaluated_run
from .traces import Traces

log = logging.getLogger(__name__)

RECORD = "record.json"
DEFAULT_URI = "sqlite:///mlflow.db"
PARENT_RUN = "mlflow.parentRunId"
ROLE = "role"
"""Tag of a run that trains nothing: a suite's parent run, or one that holds a report."""
EVALUATION = "evaluation"
"""Tag that names the evaluation of a run with that role."""
BESIDE = "solver"
"""The evaluation that every comparison sets beside the runs themselves."""
_PAGE = 1000


def load_mlflow(
    experiment: str | Sequence[str] | None = None,
    run_ids: Sequence[str] = (),
    filter_string: str = "",
    tracking_uri: str | None = None,
    traces: Traces | None = None,
    evaluation: str | None = None,
) -> list[RunRecord]:
    """The records of an MLflow store; a run without one is rebuilt from its tags, so that none is dropped.

    Args:
        experiment: Name of the experiment, or several; None searches all.
        run_ids: Only these runs, each a run id or the beginning of one.
        filter_string: MLflow's search syntax, such as `tags.suite = 'quickstart'`.
        tracking_uri: The store; None takes MLFLOW_TRACKING_URI, or else `sqlite:///mlflow.db`.
        traces: Takes up the series of every run; the records are left without them.
        evaluation: Take what was recorded of the runs under this name, instead of the runs themselves.

    Raises:
        UsageError: No such experiment or run, no run found, none evaluated so, or MLflow refuses the filter.
        TrackingError: The store does not exist or does not answer.
    """
    uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI
    client = _client(uri)
    experiments = (experiment,) if isinstance(experiment, str) else tuple(experiment or ())
    runs = [
        run
        for run in _found(client, uri, experiments, filter_string)
        if _is_wanted(run.data.tags, evaluation) and _is_named(run, run_ids, evaluation)
    ]
    with ThreadPoolExecutor(16) as pool:  # against a server each record is a request
        records = list(pool.map(lambda run: slim(_record(client, run), traces), runs))
    name_checkpoints(records, lambda run_id: _elsewhere(client, run_id))
    if evaluation is not None:
        if not records:
            raise nothing_evaluated(evaluation)
        return [as_group(record) for record in records]
    records = only(records, run_ids)
    if not records:
        raise _nothing_found(uri, experiments, filter_string)
    return records


def _found(client: Any, uri: str, experiments: Sequence[str], filter_string: str) -> list[Any]:
    """The runs that MLflow finds.

    Raises:
        UsageError: No such experiment, or MLflow refuses the filter.
        TrackingError: The store does not answer.
    """
    from mlflow.exceptions import MlflowException

    try:
        return list(_search(client, _experiment_ids(client, experiments, uri), filter_string))
    except UsageError:
        raise
    except Exception as error:
        if (
            filter_string
            and isinstance(error, MlflowException)
            and error.error_code == "INVALID_PARAMETER_VALUE"
        ):
            raise UsageError(
                f"MLflow does not understand the filter: {str(error).splitlines()[0]}",
                "example: --filter \"tags.suite = 'quickstart'\"",
            ) from error
        raise _unreadable(uri, error) from error


def _nothing_found(uri: str, experiments: Sequence[str], filter_string: str) -> UsageError:
    where = f"experiment {' or '.join(map(repr, experiments))} of " if experiments else ""
    return UsageError(
        f"no run found in {where}{uri}" + (f" with the filter {filter_string}" if filter_string else ""),
        "integrand fit or integrand suite run makes some",
    )


def _is_wanted(tags: Mapping[str, str], evaluation: str | None) -> bool:
    """Whether a run with these tags is compared: an evaluation, or a run and what is set beside."""
    found = current_evaluation(tags.get(EVALUATION))
    if evaluation is not None or found == BESIDE:
        return found == (evaluation or BESIDE)
    return not tags.get(ROLE)


def _is_named(run: Any, run_ids: Sequence[str], evaluation: str | None) -> bool:
    """Whether one of the ids, or beginnings of ids, is the run's; with none given every run is."""
    return not run_ids or any(_about(run, evaluation).startswith(i) for i in run_ids)


def _about(run: Any, evaluation: str | None) -> str:
    """The id that a user means: that of the training run."""
    return str(run.info.run_id if evaluation is None else run.data.tags.get(PARENT_RUN, ""))


def _client(uri: str) -> Any:
    """An MLflow client, without creating an empty store where there is none."""
    parsed = urlparse(uri)
    path = Path(unquote(uri.partition(":///")[2]).partition("?")[0])
    if parsed.scheme == "sqlite" and not path.exists():
        raise TrackingError(
            f"there is no tracking store {path}",
            "run from the folder that holds it, or name it with --tracking-uri or MLFLOW_TRACKING_URI",
        )
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # records come through the server, for only the server may reach its artifact store (docs/docker.md)
    os.environ.setdefault("MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD", "false")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    from mlflow.tracking import MlflowClient

    try:
        return MlflowClient(tracking_uri=uri)
    except Exception as error:  # MLflow, SQLAlchemy and the drivers each raise their own
        raise _unreadable(uri, error) from error


def _unreadable(uri: str, error: Exception) -> TrackingError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    # a URI may hold a password
    where = re.sub(r"//[^/@]*@", "//***@", uri)
    return TrackingError(f"the tracking store {where} cannot be read: {reason}", "integrand doctor checks it")


def _experiment_ids(client: Any, names: Sequence[str], uri: str) -> list[str]:
    """The ids to search in; all where no experiment is named."""
    found = {name: client.get_experiment_by_name(name) for name in names}
    lacking = next((name for name, experiment in found.items() if experiment is None), None)
    if names and lacking is None:
        return [experiment.experiment_id for experiment in found.values()]
    everything = list(client.search_experiments(max_results=_PAGE))
    if lacking is None:
        return [e.experiment_id for e in everything]
    known = [e.name for e in everything]
    close = difflib.get_close_matches(lacking, known, n=3, cutoff=0.4) or known[:8]
    raise UsageError(f"{uri} has no experiment {lacking!r}", f"did you mean {', '.join(close)}?")


def _search(client: Any, experiment_ids: list[str], filter_string: str) -> Iterator[Any]:
    """Every run, page by page."""
    token = None
    while True:
        page = client.search_runs(experiment_ids, filter_string, max_results=_PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _record(client: Any, run: Any) -> RunRecord:
    """The record of one run. How it ended is taken from the store: a killed run could not write it."""
    try:
        text = _artifact(client, run)
        record = RunRecord.from_json(text) if text is not None else _from_tags(run)
    except ValueError as error:
        log.warning(
            "the record of run %s is damaged (%s): it is compared by what the store says",
            *(run.info.run_id, error),
        )
        record = _from_tags(run)
    if not record.experiment:
        record.experiment = client.get_experiment(run.info.experiment_id).name
    record.run_id = run.info.run_id
    record.run_name = run.info.run_name or record.run_name
    record.status = run.info.status
    record.ended = run.info.end_time / 1000 if run.info.end_time else None
    parent = run.data.tags.get(PARENT_RUN)
    if parent and evaluated_run(record) == "" and not record.evaluates:
        # an evaluation recorded before records named the checkpoint
        record.evaluates = {"run_id": parent, "epoch": None}
    return record


def _elsewhere(client: Any, run_id: str) -> RunRecord | None:
    """What the tags of another run say, None where the store does not have it."""
    from mlflow.exceptions import MlflowException

    try:
        return _from_tags(client.get_run(run_id))
    except MlflowException as error:
        log.debug("no run %s: %s", run_id, error)
        return None


def _artifact(client: Any, run: Any) -> str | None:
    """The text of the record, None where the run left none."""
    parsed = urlparse(run.info.artifact_uri)
    if parsed.scheme in ("", "file"):
        path = Path(unquote(parsed.path)) / RECORD
        return path.read_text(encoding="utf-8") if path.is_file() else None
    try:
        with tempfile.TemporaryDirectory() as folder:
            return Path(client.download_artifacts(run.info.run_id, RECORD, folder)).read_text(
                encoding="utf-8"
            )
    except Exception as error:
        # MLflow raises a different class per artifact store for "not there"
        log.debug("no record of %s: %s", run.info.run_id, error)
        return None


def _from_tags(run: Any) -> RunRecord:
    """What the tags, parameters and metrics of a run without a record still say."""
    tags, params = run.data.tags, run.data.params
    seed = tags.get("integrand.seed") or tags.get("seed") or params.get("seed_everything")

    def tag(name: str) -> str:
        return str(tags.get(f"integrand.{name}") or tags.get(name) or "")

    data = {"name": tag("data"), "digest": tag("data_digest")} if tag("data") else None
    return from_settings(
        run.info.run_id,
        {} if tag("family") else params,
        run_name=run.info.run_name or "",
        started=(run.info.start_time or 0) / 1000,
        error={"type": "", "message": tag("error") or "left no record.json"},
        family=tag("family"),
        group=tag("group"),
        solver=tag("solver"),
        data=data,
        seed=whole(seed),
        suite=tag("suite"),
        run_key=tag("run_key"),
        metrics={k: float(v) for k, v in run.data.metrics.items()},
    )
