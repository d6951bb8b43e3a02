"""Finds the artifacts of recorded runs: in the tracking store, or beside the records."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from integrand.comparison.results import Comparison
from integrand.record import RunRecord
from integrand.tracking.spool import folders
from integrand.tracking.store import names
from integrand.tracking.store.opening import mlflow_client
from integrand.tracking.store.uris import local_path, resolve_uri

from .pictures import Locate


def in_folder(folder: Path, run_ids: Iterable[str]) -> Locate:
    """Finds artifacts beside the `record.json` of a run in a folder of records."""
    wanted = set(run_ids)
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob(names.RECORD)):
        if not (path.parent / names.FIGURE_DIR).is_dir():
            continue
        # tracking puts a run's artifacts into RUN_ID/artifacts; a copied folder may be named otherwise
        named = {part for part in path.parts if part in wanted}
        if not named:
            text = path.read_text(encoding="utf-8")
            named = {run_id for run_id in wanted if f'"run_id": "{run_id}"' in text}
        found |= dict.fromkeys(named, path.parent)
    return lambda run: found.get(run.run_id)


def in_store(client: Any) -> Locate:
    """Finds artifacts through a tracking store; those of a server are downloaded, the figures only."""

    def locate(run: RunRecord) -> Path | None:
        if not run.figures:
            return None
        try:
            folder = local_path(client.get_run(run.run_id).info.artifact_uri)
            if folder is not None:
                return folder if folder.is_dir() else None
            target = folders.cache_dir(run.run_id)
            target.mkdir(parents=True, exist_ok=True)
            client.download_artifacts(run.run_id, names.FIGURE_DIR, str(target))
        except Exception:
            # every artifact store fails in its own way; a page without pictures is still a page
            return None
        return target

    return locate


def locator(comparison: Comparison, records: Path | None, tracking_uri: str | None) -> Locate:
    """What finds the artifacts of the runs of a comparison.

    Args:
        comparison: What is reported.
        records: The folder that its records came from; None for the store.
        tracking_uri: The store; None takes the default one.
    """
    if records is None:
        return in_store(mlflow_client(resolve_uri(tracking_uri)))
    runs = [run for part in comparison.parts for row in part.rows for run in row.group.runs]
    return in_folder(records, [run.run_id for run in runs])
