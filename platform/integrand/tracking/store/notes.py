"""Descriptions that make MLflow's UI usable by itself: what a run is, and links to what it left."""

from __future__ import annotations

from ...record import RunRecord
from . import names


def artifact_link(experiment_id: str, run_id: str, path: str, text: str) -> str:
    """A Markdown link to an artifact of a run, as MLflow's UI addresses it."""
    return f"[{text}](#/experiments/{experiment_id}/runs/{run_id}/artifacts/{path})"


def run_link(experiment_id: str, run_id: str, text: str) -> str:
    """A Markdown link to a run."""
    return f"[{text}](#/experiments/{experiment_id}/runs/{run_id})"


def reports_link(experiment_id: str, text: str) -> str:
    """A Markdown link to the reports that an experiment has, now or later."""
    return f"[{text}](#/experiments/{experiment_id}/runs?searchFilter=tags.role%20%3D%20%27comparison%27)"


def run_note(record: RunRecord, experiment_id: str) -> str:
    """The description of one run, from a record that has family, data, solver and seed."""
    data = record.data.get("name", "")
    what = f"**{record.family}** on **{data}**" if data else f"**{record.family}**"
    seed = f"seed {record.seed}" if record.seed is not None else ""
    solver = f"solver {record.solver}" if record.solver else ""
    gradient = f"gradient {record.gradient}" if record.gradient else ""
    # the UI folds a description after a few lines: the links must stand above the fold
    first = ", ".join(filter(None, (what, seed, solver, gradient)))
    files = (
        (f"{names.CONFIG_DIR}/fit.yaml", "configuration"),
        (f"{names.CHECKPOINT_DIR}/best.ckpt", "best checkpoint"),
        (f"{names.CHECKPOINT_DIR}/last.ckpt", "last checkpoint"),
        (names.RECORD, "record"),
        (names.FIGURE_DIR, "figures"),
        (names.PROVENANCE, "provenance"),
    )
    links = " · ".join(artifact_link(experiment_id, record.run_id, path, text) for path, text in files)
    links += f" · {reports_link(experiment_id, 'reports')}"
    commands = "\n".join(
        f"- {text}: `{command}`"
        for text, command in (
            ("make a report", f"integrand report --experiment {record.experiment}"),
            (
                "test at another tolerance",
                f"integrand test --run {record.run_id[:8]} --model.solver.rtol 1e-6",
            ),
            ("go on", f"integrand fit --resume {record.run_id[:8]}"),
        )
        if record.solver or "rtol" not in command
    )
    return "\n\n".join([first, links, commands])
