"""What a reader must know to read the tables honestly."""

from __future__ import annotations

from collections.abc import Sequence

from integrand.record import RunRecord

from ..measures import SECONDS_PER_EPOCH, Metric
from ..results import Part
from ..statistics.estimates import PairedDifference
from ..statistics.verdicts import ALPHA

UNEVEN = 2.0
"""Seconds per epoch that differ by this factor within a group are pointed out."""


def notes(parts: Sequence[Part], baseline: str | None, metric: Metric) -> list[str]:
    """How far the tables of each part can be trusted."""
    return [
        f"{part.data.title}: {text}"
        for part in parts
        for text in (
            *_reference(part, baseline),
            *_devices(part),
            *_uneven(part),
            *_few_seeds(part),
            *_monitor(part, metric),
        )
    ]


def _reference(part: Part, baseline: str | None) -> list[str]:
    if baseline is None or part.chosen:
        return []
    return [f"has no runs of {baseline}; the reference is the best, {part.reference}"]


def _devices(part: Part) -> list[str]:
    devices = {_device(run) for row in part.rows for run in row.group.runs} - {""}
    if len(devices) < 2:
        return []
    return [f"seconds come from different devices: {', '.join(sorted(devices))}"]


def _device(run: RunRecord) -> str:
    """The name of the run's device, empty where it is not recorded."""
    device = run.provenance.get("device")
    return str(device.get("name") or "") if isinstance(device, dict) else ""


def _uneven(part: Part) -> list[str]:
    """Groups whose seeds took very different times, which the same work does not."""
    found = []
    for row in part.rows:
        seconds = [s for run in row.group.runs if (s := SECONDS_PER_EPOCH.of(run))]
        if seconds and max(seconds) > UNEVEN * min(seconds):
            found.append(f"{row.label} {max(seconds) / min(seconds):.1f}×")
    if not found:
        return []
    return [f"seconds per epoch differ between seeds of a group ({', '.join(found)}): was the machine busy?"]


def _few_seeds(part: Part) -> list[str]:
    found = []
    few = _coarse(part)
    if few:
        n, floor = max(p.estimate.n for p in few), min(p.p_floor for p in few)
        found.append(
            f"with {n} common seeds the exact sign-flip test cannot go below p = {floor:g}, even "
            "uncorrected; the t test decides, and it assumes normal differences"
        )
    if any(row.quality.n == 1 for row in part.rows):
        found.append("groups with one seed have no interval and no test")
    return found


def _coarse(part: Part) -> list[PairedDifference]:
    """The differences whose sign-flip test cannot reach the level."""
    pairs = [r.difference.paired for r in part.rows if r.difference and r.difference.paired]
    return [p for p in pairs if p.estimate.n >= 2 and p.p_floor >= ALPHA]


def _monitor(part: Part, metric: Metric) -> list[str]:
    if not metric.name.startswith("best/"):
        return []
    return [f"{metric.name} is the best of many validations and so too good; a test is not"]
