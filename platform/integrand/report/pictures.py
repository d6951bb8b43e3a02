"""The pictures that runs logged, downscaled into the page within a budget."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image

from integrand.record import RunRecord

from .page import Picture

BUDGET = 4_500_000
"""Characters of all pictures of a page together."""
WIDTH = 720
"""Pixels across at most; twice the width of a column, for fine screens."""
QUALITY = 78
REDRAWN = {"loss.png", "nfe.png"}
"""The page draws these itself, from the recorded series."""
FIRST = ("samples", "trajector", "steps", "confusion_test", "confusion")
"""Beginnings of names, the most telling first."""

Locate = Callable[[RunRecord], "Path | None"]
"""Finds the folder of a run's artifacts; None where it cannot be reached."""


class Album:
    """Collects pictures until the budget is spent.

    Args:
        locate: Where a run's artifacts are.
        budget: Characters of all pictures together.
    """

    def __init__(self, locate: Locate, budget: int = BUDGET) -> None:
        self._locate = locate
        self._left = budget

    def collect(self, runs: Sequence[RunRecord]) -> dict[str, tuple[tuple[Picture, ...], int]]:
        """The pictures of every run by run id, and how many did not fit.

        Every run gets its first picture before any gets its second.
        """
        waiting = {run.run_id: _files(run, self._locate(run)) for run in runs}
        taken: dict[str, list[Picture]] = {run.run_id: [] for run in runs}
        left_out = dict.fromkeys(taken, 0)
        for turn in range(max((len(files) for files in waiting.values()), default=0)):
            for run_id, files in waiting.items():
                if turn < len(files):
                    picture = self._take(*files[turn])
                    if picture is None:
                        left_out[run_id] += 1
                    else:
                        taken[run_id].append(picture)
        return {run_id: (tuple(pictures), left_out[run_id]) for run_id, pictures in taken.items()}

    def _take(self, path: Path, alt: str) -> Picture | None:
        """The picture if it can be read and still fits."""
        if self._left <= 0:
            return None
        picture = shrink(path, alt)
        if picture is None or len(picture.uri) > self._left:
            return None
        self._left -= len(picture.uri)
        return picture


def shrink(path: Path, alt: str) -> Picture | None:
    """A picture as a data URI of at most `WIDTH` pixels across; None where the file is no picture."""
    try:
        with Image.open(path) as image:
            small = image.convert("RGBA")
    except Exception:  # damaged bytes can fail in any way
        return None
    white = Image.new("RGBA", small.size, "white")
    flat = Image.alpha_composite(white, small).convert("RGB")
    if flat.width > WIDTH:
        height = max(1, round(flat.height * WIDTH / flat.width))
        flat = flat.resize((WIDTH, height), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    flat.save(buffer, "WEBP", quality=QUALITY, method=4)
    uri = f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
    return Picture(path.name, uri, flat.width, flat.height, alt)


def _files(run: RunRecord, folder: Path | None) -> list[tuple[Path, str]]:
    """The pictures worth showing, the most telling first, each with its description."""
    if folder is None:
        return []
    described = _descriptions(folder)
    existing = [name for name in sorted(_telling(run), key=_rank) if (folder / name).is_file()]
    return [(folder / name, described.get(name) or _plain(name, run)) for name in existing]


def _telling(run: RunRecord) -> list[str]:
    """The run's pictures, without those that say nothing beside what the page has anyway."""
    names = [name for name in run.figures if Path(name).name not in REDRAWN and ".." not in Path(name).parts]
    # the validation's confusion matrix says little beside the test's
    if "figures/confusion_test.png" in names:
        names = [name for name in names if name != "figures/confusion_val.png"]
    return names


def _descriptions(folder: Path) -> dict[str, str]:
    """What tracking wrote about the pictures."""
    try:
        found = json.loads((folder / "figures" / "descriptions.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}


def _plain(name: str, run: RunRecord) -> str:
    return f"{Path(name).stem.replace('_', ' ')} of run {run.run_name or run.run_id}"


def _rank(name: str) -> tuple[int, str]:
    stem = Path(name).stem
    return next((i for i, start in enumerate(FIRST) if stem.startswith(start)), len(FIRST)), name


def nowhere(run: RunRecord) -> Path | None:
    """Finds nothing."""
    del run
    return None
