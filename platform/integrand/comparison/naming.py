"""Names of groups: the family, with what tells its configurations or experiments apart."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Literal

from integrand.record import RunRecord

GroupBy = Literal["family", "config"]


def group_labels(
    runs: Sequence[RunRecord], by: GroupBy, data: Mapping[str, Hashable]
) -> tuple[dict[str, str], list[str]]:
    """The group label of every run, and notes on labels that had to be told apart.

    No group spans two experiments (of which a suite is one): what has the same name in two of them, on the
    same data, is named with its experiment.

    Args:
        runs: The runs.
        by: What a group is.
        data: By run id, what must be equal for runs to be in one table.

    Returns:
        Labels by run id; the notes.
    """
    label_of = _labels(runs, by)
    experiments: dict[tuple[Hashable, str], set[str]] = defaultdict(set)
    for run in runs:
        experiments[data[run.run_id], label_of[run.run_id]].add(run.experiment)
    notes = []
    shared = sorted({label for (_, label), found in experiments.items() if len(found) > 1})
    if shared:
        names = sorted({e or "no experiment" for (_, label) in experiments for e in experiments[_, label]})
        notes.append(
            f"{', '.join(shared)}: recorded in several experiments ({', '.join(names)}), which are kept apart"
        )
    for run in runs:
        label = label_of[run.run_id]
        if len(experiments[data[run.run_id], label]) > 1:
            label_of[run.run_id] = f"{label} [{run.experiment or 'no experiment'}]"
    return label_of, notes


def _labels(runs: Sequence[RunRecord], by: GroupBy) -> dict[str, str]:
    """The group label of every run by run id."""
    family = {run.run_id: run.family or run.model_class or "unknown family" for run in runs}
    if by == "family":
        return family
    settings: dict[tuple[str, str], dict[str, str]] = {}
    for run in runs:
        settings.setdefault((family[run.run_id], run.config_digest), _flatten(run.config))
    names: dict[tuple[str, str], str] = {}
    for (name, digest), own in settings.items():
        siblings = [s for (other, _), s in settings.items() if other == name]
        shown = _distinction(own, siblings)
        names[name, digest] = name if len(siblings) == 1 else f"{name} {shown}".rstrip()
    # two configurations may differ only behind the third setting: the digest then tells them apart
    clashes = Counter(names.values())
    for (name, digest), label in names.items():
        if clashes[label] > 1:
            names[name, digest] = f"{label} #{digest[:8]}"
    return {run.run_id: names[family[run.run_id], run.config_digest] for run in runs}


def _distinction(own: Mapping[str, str], siblings: Sequence[Mapping[str, str]]) -> str:
    """What tells a configuration from its siblings, in few words: `noise=Dropout`, `blocks=6 lr=0.01`.

    Where another class is chosen its name says enough: the options of two classes are not compared. What is
    not set at all in this configuration is not mentioned.
    """
    keys = {key for setting in siblings for key in setting}
    differing = sorted(key for key in keys if len({s.get(key) for s in siblings}) > 1)
    chosen = [key.removesuffix(".class_path") for key in differing if key.endswith(".class_path")]
    words = []
    for key in differing:
        part = key.removesuffix(".class_path")
        inside_other = any(part.startswith(f"{c}.") for c in chosen)
        if own.get(key, "null") == "null" or inside_other:
            continue
        value = own[key].rpartition(".")[2] if part != key else own[key]
        words.append(f"{part.rpartition('.')[2]}={value}")
    # which class was chosen says more than any number
    words.sort(key=lambda word: word.partition("=")[0] not in {c.rpartition(".")[2] for c in chosen})
    return " ".join(words[:3])


_IDENTITY = {
    "seed_everything",
    "run_id",
    "run_name",
    "experiment",
    "suite",
    "run_key",
    "tracking_uri",
    "save_dir",
}


def _flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Dotted settings of a configuration without those that only name the run."""
    flat: dict[str, str] = {}
    for key, value in config.items():
        if key in _IDENTITY:
            continue
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value if isinstance(value, str) else json.dumps(value, default=str)
    return flat
