"""Logs a report into the tracking store, as a run that no comparison takes for a training run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from integrand.comparison.results import Comparison
from integrand.errors import TrackingError
from integrand.tracking.store import names
from integrand.tracking.store.opening import get_or_create_experiment, open_store
from integrand.tracking.store.uris import redact, resolve_uri

ROLE_COMPARISON = "comparison"
"""Value of the tag `role`; training runs have no role."""
ARTIFACTS = "report"
EXPERIMENT = "reports"
"""Where a report goes whose runs name no experiment."""


def publish(
    comparison: Comparison,
    paths: Sequence[Path],
    findings: Sequence[str],
    tracking_uri: str | None = None,
    experiment: str | None = None,
) -> str:
    """Log the files of a report as artifacts of a new run.

    Args:
        comparison: What was reported.
        paths: The files.
        findings: The result in words, the run's description.
        tracking_uri: The store; None takes the default one.
        experiment: Its experiment; None takes that of most runs.

    Returns:
        The id of the new run.

    Raises:
        TrackingError: The store does not answer or refuses.
    """
    uri = resolve_uri(tracking_uri)
    client = open_store(uri)
    runs = [run for part in comparison.parts for row in part.rows for run in row.group.runs]
    name = experiment or next(
        (name for name, _ in Counter(run.experiment for run in runs if run.experiment).most_common(1)),
        EXPERIMENT,
    )
    description = "\n".join(f"- {finding}" for finding in findings)
    try:
        found = get_or_create_experiment(client, uri, name, Path("mlartifacts"))
        run_id = str(
            client.create_run(
                found.experiment_id,
                run_name=f"report {comparison.title}",
                tags={
                    names.ROLE: ROLE_COMPARISON,
                    names.NOTE: f"Report: `{ARTIFACTS}/report.html`\n\n{description}",
                },
            ).info.run_id
        )
        client.log_param(run_id, "metric", comparison.metric.name)
        client.log_metric(run_id, "runs_counted", len(runs))
        client.log_metric(run_id, "runs_left_out", len(comparison.left_out))
        for path in paths:
            client.log_artifact(run_id, str(path), ARTIFACTS)
        client.set_terminated(run_id, "FINISHED")
    except TrackingError:
        raise
    except Exception as error:  # MLflow, SQLAlchemy and requests each raise their own
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise TrackingError(
            f"{redact(uri)} did not take the report: {reason}", "integrand doctor checks it"
        ) from error
    return run_id
