"""Cells: one experiment with one set of overrides and one seed, as a command with a key."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from integrand.config_files import include, resolve_files
from integrand.datamodules.registry import builtin_cards
from integrand.errors import UsageError
from integrand.recipes import Experiment
from integrand.tracking.store import names

from .arms import Arm, depth
from .code import cell_code, code_digest
from .spec import BudgetSpec, SuiteSpec


@dataclass(frozen=True)
class Cell:
    """One run of a suite.

    Args:
        key: Digest that identifies the run: equal keys mean the same computation.
        experiment: Short name of the experiment with what sets its variant apart.
        source: The recipe and the model, or the whole configuration.
        seed: Its seed.
        overrides: Dotted option → value.
        args: Further words of its command line.
        name: Name of its run: short, and what sets it apart comes first.
        teacher: Key of the cell whose best checkpoint teaches it; empty where it needs none.
    """

    key: str
    experiment: str
    source: Experiment
    seed: int
    overrides: Mapping[str, Any]
    args: tuple[str, ...]
    name: str = ""
    teacher: str = ""

    @property
    def label(self) -> str:
        """The cell in words."""
        return f"{self.experiment} seed {self.seed}"

    def command(
        self,
        suite: str,
        parent: str = "",
        budget: BudgetSpec | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> tuple[str, ...]:
        """The process that runs the cell and records it under its key; its teacher's checkpoint comes on top.

        Started again after an interruption, the same command goes on from the last checkpoint in the same
        MLflow run.

        Args:
            suite: Name of the suite.
            parent: MLflow run id of the parent run; empty for none.
            budget: What the run may use; None sets no limit.
            tags: Further tags of its run.
        """
        logger = "--trainer.logger"
        all_tags = {names.CELL: self.experiment, **(tags or {})}
        return (
            *(sys.executable, "-m", "integrand", "fit", *self.source.arguments()),
            *("--seed_everything", str(self.seed)),
            *(f"{logger}.experiment", suite, f"{logger}.suite", suite, f"{logger}.run_key", self.key),
            *((f"{logger}.run_name", self.name) if self.name else ()),
            *((f"{logger}.parent_run_id", parent) if parent else ()),
            *(f"{logger}.tags", json.dumps(all_tags)),
            *(f"{logger}.resume", "true", "--ckpt_path", "last", "--test_after_fit", "true"),
            *(f"--{name}={_word(value)}" for name, value in self.overrides.items()),
            *self.args,
            *(budget.arguments() if budget else ()),
        )


def expand(spec: SuiteSpec) -> list[Cell]:
    """The cells of a suite: all experiments with the first seed, then all with the second, and so on.

    In this order an interrupted suite leaves whole comparisons over fewer seeds. A taught cell has the
    teacher of its own seed and variant.

    Raises:
        UsageError: An experiment file cannot be read.
    """
    short = _run_names(spec.experiments)
    common = {k for k in spec.variants[0] if all(v.get(k) == spec.variants[0][k] for v in spec.variants)}
    args = [include(word, Path.cwd()) for word in resolve_files(list(spec.args))]
    configs = {experiment: experiment.content() for experiment in spec.experiments}
    cells = []
    # the key of a taught cell holds that of its teacher, which therefore comes before it
    taught_last = sorted(spec.experiments, key=lambda e: depth(e, spec.arms))
    for seed in spec.seeds:
        found: dict[tuple[Experiment, int], Cell] = {}
        for experiment in taught_last:
            arm = spec.arms.get(experiment, Arm())
            for number, variant in enumerate(spec.variants):
                overrides = {**variant, **arm.overrides}
                teacher = found[arm.teacher, number].key if arm.teacher else ""
                key = _key(configs[experiment], overrides, args, seed, teacher)
                own = " ".join(_told(k, v) for k, v in variant.items() if k not in common)
                label = f"{experiment.name} {own}".strip()
                name = " ".join(filter(None, (f"s{seed}", short[experiment], own)))
                found[experiment, number] = Cell(
                    key, label, experiment, seed, overrides, spec.args, name, teacher
                )
        cells += [found[e, number] for e in spec.experiments for number in range(len(spec.variants))]
    return cells


def _key(config: Any, overrides: Mapping[str, Any], args: Sequence[Any], seed: int, teacher: str) -> str:
    """The digest of all that decides what a cell computes."""
    own = _with_files(overrides)
    content = {"config": config, "overrides": own, "args": args, "seed": seed}
    data = _data_name(config, own)
    content |= {"data": data, "data_digests": _data_digests(data)}
    content["code"] = _code(config, own, args)
    if teacher:
        content["teacher"] = teacher
    return _digest(content)


def _digest(content: Mapping[str, Any]) -> str:
    """64 bits are enough to tell a suite's cells apart and short enough for file names."""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _with_files(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Overrides with the content of the configuration files that they name."""
    found = {}
    for option, value in overrides.items():
        word = resolve_files([f"--{option}", value])[1] if isinstance(value, str) else value
        found[option] = include(word, Path.cwd())
    return found


def _code(config: Any, variant: Mapping[str, Any], args: Sequence[Any]) -> str:
    """Digest of the code that the cell can execute; of all code where the command line chooses for it."""
    whole = isinstance(config, dict) and {"model", "data"} <= set(config)
    return cell_code(config, variant, args) if whole else code_digest()


def _data_name(config: Any, variant: Mapping[str, Any]) -> str:
    """The data set that the cell names, the default one where it names none."""
    data = variant.get("data", config.get("data") if isinstance(config, dict) else None)
    name = data.get("class_path", "") if isinstance(data, dict) else data
    return str(variant.get("data.class_path", name) or "")


@cache
def _data_digests(data: str) -> dict[str, str]:
    """The content digests that the package demands of the data set; those of other packages are not known."""
    by_class = {card.class_name: card for card in builtin_cards().values()}
    card = by_class.get(data.rpartition(".")[2])
    return dict(card.digests) if card else {}


def _run_names(experiments: Sequence[Experiment]) -> dict[Experiment, str]:
    """Models alone where they tell the experiments apart, whole names elsewhere."""
    unique = len({e.short for e in experiments}) == len(experiments)
    return {e: e.short if unique else e.name for e in experiments}


def _told(option: str, value: Any) -> str:
    """An override in a label: `rtol=0.001`, and `solver=Euler num_steps=4` for a class with its arguments."""
    name = option.rpartition(".")[2]
    if isinstance(value, dict) and isinstance(value.get("class_path"), str):
        arguments = value.get("init_args") or {}
        words = [f"{k}={_word(v)}" for k, v in arguments.items() if v is not None]
        return " ".join([f"{name}={value['class_path'].rpartition('.')[2]}", *words])
    # the name of a run is an option too: in YAML ": " would make a mapping of it and " #" a comment
    return f"{name}={_word(value)}".replace(": ", ":").replace(" #", "#")


def _word(value: Any) -> str:
    """An override as YAML reads it back from one word."""
    return value if isinstance(value, str) else json.dumps(value)


def by_key(cells: Sequence[Cell]) -> dict[str, Cell]:
    """Cells by key.

    Raises:
        UsageError: Two cells are the same computation.
    """
    keys: dict[str, Cell] = {}
    for cell in cells:
        if cell.key in keys:
            raise UsageError(f"{cell.label} is in the suite twice", "give each variant other overrides")
        keys[cell.key] = cell
    return keys
