"""`integrand reproduce`: a recorded run made again from its configuration, and compared with itself."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..record import RunRecord
from ..tracking.store import names, runs
from .parser import Parser

ROLE = "reproduction"
REPRODUCES = "reproduces"
DIFFERS = 3
"""Exit code where something came out otherwise."""
_CLOCKS = ("cost/", "basics/cost_seconds")
_SUMMARIES = ("best/", "final/", "basics/")
"""Said at the end of a fit, so several times where a run was gone on with; the last time counts."""
_SHOWN = 10


def run(argv: Sequence[str]) -> int:
    """Train again and compare; 0 where every recorded value is the same bit for bit.

    Raises:
        TrackingError: There is no such run, or it recorded no configuration.
        UsageError: Its configuration names a class that is not installed.
    """
    parser = Parser(
        prog="integrand reproduce",
        description="Make a recorded run again from its configuration, in one piece if it was gone on with, "
        "and compare every value that no clock has touched. Warns where code, libraries, data or device are "
        "others.",
    )
    parser.add_argument("run", metavar="RUN", help="a run id or its first letters, a run name, or latest")
    parser.add_argument(
        "--tracking-uri", metavar="URI", help="default: MLFLOW_TRACKING_URI or sqlite:///mlflow.db"
    )
    parser.add_argument(
        "--trust", action="store_true", help="its configuration may name classes that are not installed"
    )
    args = parser.parse_args(list(argv))
    if args.tracking_uri:
        os.environ["MLFLOW_TRACKING_URI"] = args.tracking_uri
    from ..tracking.store.opening import open_store

    client = open_store()
    old = runs.find_trained(args.run)
    again = _make(old, args.trust)
    if isinstance(again, int):
        return again
    for line in drift(runs.read_record(client, old.run_id), runs.read_record(client, again)):
        print(f"drift: {line}")
    return _report(old.run_id, again, list(differences(_series(client, old.run_id), _series(client, again))))


def _make(old: runs.RunHandle, trust: bool) -> str | int:
    """Train with the run's configuration: the id of the new run, or the exit code of a fit that failed."""
    from ..config_files import sections
    from ..trust import check_trusted
    from . import training

    path: Path = runs.last_config_path(old)
    if not trust:
        check_trusted(sections(path), f"run {old.run_id[:8]}")
    tags = json.dumps({names.ROLE: ROLE, REPRODUCES: old.run_id})
    logger = "--trainer.logger."
    print(f"making run {old.run_id[:8]} ({old.name}) again")
    code = training.run(
        "fit", ["--config", str(path), f"{logger}tags", tags, f"{logger}experiment", old.experiment]
    )
    return code or _newest(old)


def _newest(old: runs.RunHandle) -> str:
    from ..tracking.store.opening import open_store

    client = open_store()
    experiment = client.get_experiment_by_name(old.experiment).experiment_id
    condition = f"tags.{REPRODUCES} = '{old.run_id}'"
    found = client.search_runs(
        [experiment], condition, order_by=["attributes.start_time DESC"], max_results=1
    )
    return str(found[0].info.run_id)


Series = Mapping[str, list[tuple[int, float]]]


def _series(client: Any, run_id: str) -> Series:
    metrics = client.get_run(run_id).data.metrics
    return {
        name: sorted((p.step, p.value) for p in client.get_metric_history(run_id, name))
        for name in metrics
        if not name.startswith(_CLOCKS)
    }


def differences(old: Series, new: Series) -> Iterator[str]:
    """What came out otherwise, one line per metric; of a test that came later the new run knows nothing."""
    for name in sorted(old):
        if name not in new:
            if not name.startswith(("test/", "final/test", "validate/", "solver/test")):
                yield f"{name}: recorded then, not now"
            continue
        mine, theirs = old[name], new[name]
        if name.startswith(_SUMMARIES):
            mine, theirs = mine[-1:], theirs[-1:]
        if [step for step, _ in mine] != [step for step, _ in theirs]:
            yield f"{name}: {len(mine)} points then, {len(theirs)} now, or at other steps"
            continue
        gap = max((_gap(a, b) for (_, a), (_, b) in zip(mine, theirs, strict=True)), default=0.0)
        if gap:
            yield f"{name}: differs by up to {gap:.3g}"


def _gap(a: float, b: float) -> float:
    if a == b or (math.isnan(a) and math.isnan(b)):
        return 0.0
    return math.inf if math.isnan(a) or math.isnan(b) else abs(a - b)


def drift(old: RunRecord | None, new: RunRecord | None) -> Iterator[str]:
    """In what the two runs were not made alike."""
    if old is None or new is None:
        yield "a run left no record to compare code, libraries and data by"
        return
    facts = {"data": (old.data.get("digest"), new.data.get("digest"))}
    before, now = old.provenance, new.provenance
    for key in ("git_commit", "git_dirty", "project_commit", "project_dirty", "lock_digest", "determinism"):
        facts[key] = (before.get(key), now.get(key))
    for name in sorted({*before.get("versions", {}), *now.get("versions", {})}):
        facts[name] = (before.get("versions", {}).get(name), now.get("versions", {}).get(name))
    for key in ("type", "name", "threads"):
        facts[f"device {key}"] = (before.get("device", {}).get(key), now.get("device", {}).get(key))
    for name, (then, today) in facts.items():
        if then != today:
            yield f"{name} was {then}, is {today}"


def _report(old: str, new: str, found: list[str]) -> int:
    if not found:
        print(f"run {new[:8]} equals {old[:8]} bit for bit")
        return 0
    for line in found[:_SHOWN]:
        print(line)
    if len(found) > _SHOWN:
        print(f"and {len(found) - _SHOWN} more")
    print(f"run {new[:8]} is not equal to {old[:8]}: {len(found)} series differ")
    return DIFFERS
