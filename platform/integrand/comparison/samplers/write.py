"""What a sampler comparison leaves in a folder."""

from __future__ import annotations

from pathlib import Path

from ...figures.drawing import PRINT_DPI, slug
from ..files.spreadsheets import Fields, write_rows
from ..tables.markdown import pipe_table
from .cells import SamplerComparison, SamplerPart
from .figure import quality_nfe
from .tables import difference_table, quality_table


def write(comparison: SamplerComparison, folder: Path) -> list[Path]:
    """Write `samplers.csv`, `samplings.csv`, `table.md` and the figures, creating the folder.

    Returns:
        The files written.

    Raises:
        OSError: The folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / "samplers.csv", folder / "samplings.csv", folder / "table.md"]
    write_rows(files[0], [row for part in comparison.parts for row in _cell_rows(part)])
    write_rows(files[1], _score_rows(comparison))
    files[2].write_text(markdown(comparison), encoding="utf-8")
    for i, part in enumerate(comparison.parts):
        suffix = f"_{i + 1}_{slug(part.data.name)}" if len(comparison.parts) > 1 else ""
        files.append(folder / f"quality_nfe{suffix}.png")
        quality_nfe(part, comparison.metric).savefig(files[-1], dpi=PRINT_DPI)
    return files


def markdown(comparison: SamplerComparison) -> str:
    """All tables."""
    lines = []
    for part in comparison.parts:
        lines += [f"## {part.model} on {part.data}", ""]
        lines += [*pipe_table(quality_table(part, comparison.metric)), ""]
        if (differences := difference_table(part, comparison.metric)).rows:
            lines += [f"### {differences.title}", "", *pipe_table(differences), ""]
    lines += [f"- note: {note}" for note in comparison.notes]
    return "\n".join(lines).rstrip() + "\n"


def _cell_rows(part: SamplerPart) -> list[Fields]:
    rows: list[Fields] = []
    for (sampler, budget), cell in sorted(part.cells.items()):
        found, paired = cell.estimate, cell.paired
        rows.append(
            {
                "model": part.model,
                "data": part.data.name,
                "sampler": sampler,
                "budget": budget,
                "nfe": cell.nfe,
                "mean": found.mean if found else None,
                "low": found.low if found else None,
                "high": found.high if found else None,
                "models": len(cell.values),
                "failed": cell.failed,
                "floor": part.floor,
                "n": part.n,
                "seconds": cell.seconds,
                "baseline": part.baseline,
                "difference": paired.estimate.mean if paired else None,
                "p_holm": cell.p,
                "verdict": cell.verdict,
            }
        )
    return rows


def _score_rows(comparison: SamplerComparison) -> list[Fields]:
    return [
        {
            "run_id": s.run_id,
            "model_run": s.model.run_id,
            "training_seed": s.model.seed,
            "sampler": s.sampler,
            "setting": s.setting,
            "budget": s.budget,
            "nfe": s.nfe,
            "seconds": s.seconds,
            "n": s.n,
            "seed": s.seed,
            "failed": s.failed,
            **s.scores,
            **{f"{name}_floor": value for name, value in s.floors.items()},
        }
        for s in sorted(comparison.scores, key=lambda s: (s.started, s.run_id))
    ]
