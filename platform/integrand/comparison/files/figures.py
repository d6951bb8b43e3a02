"""The figures of a comparison as PNG files, each with its description."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from ...figures.drawing import PRINT_DPI, slug
from ...figures.palette import COLOURS, MARKERS
from ..measures import (
    ENERGY,
    NFE_BACKWARD,
    NFE_FORWARD,
    PARAMETERS,
    PEAK_MEMORY,
    SAMPLE_NFE,
    SECONDS_PER_EPOCH,
    Cost,
)
from ..results import Comparison, Part
from .cost_figure import quality_against_cost
from .curve_figure import curve_figure
from .describe import alt_curves, alt_quality_against_cost, title

__all__ = ["COLOURS", "MARKERS", "FigureFile", "write_figures"]

COST_FIGURES = (
    ("nfe", NFE_FORWARD),
    ("nfe_backward", NFE_BACKWARD),
    ("seconds", SECONDS_PER_EPOCH),
    ("memory", PEAK_MEMORY),
    ("parameters", PARAMETERS),
    ("energy", ENERGY),
    ("sample_nfe", SAMPLE_NFE),
)
"""Names of files and their costs."""
CURVE_FIGURES = ("quality", "nfe_forward", "nfe_backward")
DESCRIPTIONS = "figures.json"


@dataclass(frozen=True)
class FigureFile:
    """A written figure.

    Args:
        path: The file.
        title: What it is of.
        alt: What it shows, in words.
    """

    path: Path
    title: str
    alt: str


def write_figures(comparison: Comparison, folder: Path) -> list[FigureFile]:
    """Write the figures and `figures.json`, which holds title and description by file name.

    A cost that is the same for all groups, or that no run recorded, has no figure; nor has a curve that no
    run recorded, or that is zero throughout.

    Returns:
        The figures: `quality_nfe.png`, `curve_quality.png` and so on, with the data's name at the end where
        there are several data sets.
    """
    files = []
    for number, part in enumerate(comparison.parts):
        suffix = f"_{number + 1}_{slug(part.data.title)}" if len(comparison.parts) > 1 else ""
        for name, cost in COST_FIGURES:
            if _varies(part, cost):
                path = folder / f"quality_{name}{suffix}.png"
                quality_against_cost(comparison, part, cost).savefig(path, dpi=PRINT_DPI)
                alt = alt_quality_against_cost(comparison, part, cost)
                files.append(FigureFile(path, f"{title(comparison, part)}, quality against {cost.axis}", alt))
        for key in CURVE_FIGURES:
            if _is_recorded(part, key):
                path = folder / f"curve_{key}{suffix}.png"
                curve_figure(comparison, part, key).savefig(path, dpi=PRINT_DPI)
                words = key.replace("_", " ").replace("nfe", "NFE")
                files.append(
                    FigureFile(
                        path,
                        f"{title(comparison, part)}, {words} over training",
                        alt_curves(comparison, part, key),
                    )
                )
    described = {file.path.name: {"title": file.title, "alt": file.alt} for file in files}
    (folder / DESCRIPTIONS).write_text(json.dumps(described, indent=1, ensure_ascii=False), encoding="utf-8")
    return files


def _varies(part: Part, cost: Cost) -> bool:
    """Whether the groups differ in the cost, or there is only one."""
    found = [c.mean for row in part.rows if (c := row.costs.get(cost.key))]
    return bool(found) and (len(part.rows) == 1 or len(set(found)) > 1 or len(found) < len(part.rows))


def _is_recorded(part: Part, key: str) -> bool:
    return any(any(curve.mean) for row in part.rows if (curve := row.curves.get(key)))
