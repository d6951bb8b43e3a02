"""Records what an evaluation finds: a child run for each finding, and the summary with the training run."""

from __future__ import annotations

import csv
import io
import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..cells import cell
from ..evaluations.base import Evaluation, Finding, Row, Summary
from ..quantities import mode_of, own
from .store import names
from .store.child_runs import ChildRuns


class Findings:
    """The files and runs of one evaluation of one model.

    Args:
        evaluation: What measures.
        run_id: The training run; nothing is recorded where it is empty or the store does not know it.
        tracking_uri: The store; None takes the default.
    """

    def __init__(self, evaluation: Evaluation, run_id: str, tracking_uri: str | None = None) -> None:
        self.evaluation = evaluation
        self._runs = ChildRuns(run_id, names.ROLE_EVALUATION, tracking_uri)
        self._began = time.time()

    @property
    def recorded(self) -> bool:
        """Whether the store knows the training run."""
        return self._runs.parent is not None

    def keep(self, finding: Finding) -> None:
        """Record one finding as a child run, whose record a comparison reads."""
        began, self._began = self._began, time.time()
        if not self.recorded:
            return
        tags = {names.EVALUATION: self.evaluation.name}
        run_id = self._runs.begin(finding.label, finding.settings, tags)
        headline = self.evaluation.headline
        record = self._runs.record(
            self.evaluation.name,
            finding.settings,
            run_id=run_id,
            run_name=finding.label,
            status="FAILED" if finding.error else "FINISHED",
            started=began,
            ended=self._began,
            error={"type": "", "message": finding.error} if finding.error else None,
            metrics=finding.quantities,
            cost=finding.cost,
            monitor={"name": headline, "mode": mode_of(headline)},
            quantities=own(finding.quantities),
            **({"solver": finding.settings["solver"]} if "solver" in finding.settings else {}),
        )
        files: dict[str, bytes | Path] = {names.RECORD: record.to_json().encode()}
        files |= {f"{names.FIGURE_DIR}/{p.name}.png": p.png for p in finding.pictures}
        self._runs.end(run_id, {**finding.quantities, **finding.cost}, files, finding.error)

    def finish(self, summary: Summary, out: Path) -> tuple[Path, list[str]]:
        """Write tables and figures to a folder below `out`, and store them with the training run.

        Returns:
            The folder and the names of its files.
        """
        files: dict[str, bytes | Path] = {f"{n}.csv": _csv(rows) for n, rows in summary.tables.items()}
        files |= {f"{picture.name}.png": picture.png for picture in summary.pictures}
        name = f"{self.evaluation.name}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
        folder = out / name
        folder.mkdir(parents=True, exist_ok=True)
        for file, content in files.items():
            (folder / file).write_bytes(content if isinstance(content, bytes) else content.read_bytes())
        if self.recorded:
            stored: Mapping[str, Any] = {f"evaluations/{name}/{file}": c for file, c in files.items()}
            self._runs.store(self._runs.parent.info.run_id, stored)
        return folder, list(files)


def _csv(rows: Sequence[Row]) -> bytes:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: cell(value) for key, value in row.items()} for row in rows)
    return buffer.getvalue().encode()
