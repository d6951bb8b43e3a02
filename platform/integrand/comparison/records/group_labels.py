"""Names of groups: the family, with what tells its configurations or experiments apart."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from typing import Any, Literal, TypeVar

from integrand.record import RunRecord

from .checkpoints import SUFFIX, checkpoint_label

GroupBy = Literal["family", "config"]
Key = TypeVar("Key", bound=Hashable)

_NOISE = "model.init_args.noise.class_path"


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
    label_of = _labels(runs, by, data)
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


def told_apart(configs: Mapping[Key, Mapping[str, Any]]) -> dict[Key, str]:
    """What tells each configuration from the others, such as `drop=0.3`; empty where nothing does."""
    flat = {key: _flatten(config) for key, config in configs.items()}
    differing = _differing(list(flat.values()))
    return {key: _distinction(own, differing) for key, own in flat.items()}


def _labels(runs: Sequence[RunRecord], by: GroupBy, data: Mapping[str, Hashable]) -> dict[str, str]:
    """The group label of every run by run id."""
    family = {run.run_id: run.family or run.model_class or "unknown family" for run in runs}
    if by == "family":
        return family
    settings: dict[tuple[str, str], dict[str, str]] = {}
    together: dict[tuple[str, Hashable], dict[str, dict[str, str]]] = defaultdict(dict)
    for run in runs:
        name = family[run.run_id]
        own = settings.setdefault((name, run.config_digest), _flatten(run.config, run.checkpoints))
        together[name, data[run.run_id]][run.config_digest] = own
    # configurations on different data never meet in a table, and a label that leaves the data out is the
    # same in all of them
    differing: dict[str, set[str]] = defaultdict(set)
    for (name, _), siblings in together.items():
        differing[name] |= _differing(list(siblings.values())) | _always_named(siblings.values())
    labels = {
        (name, digest): f"{name} {_distinction(own, differing[name])}".rstrip()
        for (name, digest), own in settings.items()
    }
    labels = _told_further(together, labels)
    # two configurations may differ only behind all these settings: the digest then tells them apart
    for name, digest in _clashing(together, labels):
        labels[name, digest] += f" #{digest[:8]}"
    return {run.run_id: labels[family[run.run_id], run.config_digest] for run in runs}


def _told_further(
    together: Mapping[tuple[str, Hashable], Mapping[str, Mapping[str, str]]],
    labels: Mapping[tuple[str, str], str],
) -> dict[tuple[str, str], str]:
    """Labels with what tells those apart that are alike, such as options of the same class, everywhere."""
    alike: dict[tuple[str, str], set[str]] = defaultdict(set)
    for (name, _), siblings in together.items():
        by_label: dict[str, list[Mapping[str, str]]] = defaultdict(list)
        for digest, own in siblings.items():
            by_label[labels[name, digest]].append(own)
        for label, owns in by_label.items():
            alike[name, label] |= _differing(owns)
    return {
        (name, digest): f"{label} {_distinction(own, alike[name, label])}".rstrip()
        for (name, _), siblings in together.items()
        for digest, own in siblings.items()
        for label in (labels[name, digest],)
    }


def _clashing(
    together: Mapping[tuple[str, Hashable], Collection[str]], labels: Mapping[tuple[str, str], str]
) -> set[tuple[str, str]]:
    """The configurations, as family and digest, whose label a sibling on the same data has too."""
    return {
        (name, digest)
        for (name, _), siblings in together.items()
        for digest in siblings
        if any(o != digest and labels[name, o] == labels[name, digest] for o in siblings)
    }


def _always_named(siblings: Iterable[Mapping[str, str]]) -> set[str]:
    """The settings that belong to a name: a family with a noise is another than the plain one, also alone."""
    return {_NOISE for own in siblings if _NOISE in own}


def _differing(siblings: Sequence[Mapping[str, str]]) -> set[str]:
    """The settings in which configurations differ."""
    keys = {key for setting in siblings for key in setting}
    return {key for key in keys if len({s.get(key) for s in siblings}) > 1}


def _distinction(own: Mapping[str, str], keys: set[str]) -> str:
    """What tells a configuration from its siblings, in few words: `noise=Dropout`, `blocks=6 lr=0.01`.

    Where another class is chosen its name says enough: the options of two classes are not compared. What is
    not set at all in this configuration is not mentioned.
    """
    differing = sorted(keys)
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


def _flatten(
    config: Mapping[str, Any], checkpoints: Mapping[str, str] | None = None, prefix: str = ""
) -> dict[str, str]:
    """Dotted settings of a configuration without those that only name the run."""
    flat: dict[str, str] = {}
    for key, value in config.items():
        if key in _IDENTITY:
            continue
        if isinstance(value, Mapping):
            flat |= _flatten(value, checkpoints, f"{prefix}{key}.")
        elif isinstance(value, str):
            named = value.endswith(SUFFIX)
            flat[f"{prefix}{key}"] = checkpoint_label(value, checkpoints or {}) if named else value
        else:
            flat[f"{prefix}{key}"] = json.dumps(value, default=str)
    return flat
