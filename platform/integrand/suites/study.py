"""The Optuna side of a sweep: the one module that knows Optuna besides the callback in the trial."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from integrand.errors import TrackingError, UsageError
from integrand.tracking.spool.folders import runs_root
from integrand.tracking.store.uris import redact, resolve_uri

from .search import Maker, Range, SearchSpec

STORAGE_VARIABLE = "INTEGRAND_SWEEP_STORAGE"
"""Tells trials where the study is: a URL may hold a password, and command lines are recorded."""
RUN_KEY, RUN_ID, ERROR = "run_key", "run_id", "error"
"""User attributes of a trial."""
_BASE, _CODE, _PRUNER = "base", "code", "pruner"


def optuna() -> Any:
    """The library.

    Raises:
        UsageError: It is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise UsageError("sweeps need Optuna", "pip install 'integrand[sweep]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def storage_url(search: SearchSpec) -> str:
    """Where the study is kept.

    Raises:
        UsageError: It is the tracking store, whose tables it would break.
    """
    url = search.storage or f"sqlite:///{runs_root() / 'optuna.db'}"
    if resolve_uri(url) == resolve_uri(None):
        raise UsageError(
            f"{redact(url)} is the tracking store",
            "give Optuna a database of its own: both name tables alike",
        )
    return url


def open_study(name: str, search: SearchSpec, base: str, code: str, create: bool = True) -> Any:
    """The study of one experiment; a new one, or the one that an earlier sweep began.

    Args:
        name: Its name.
        search: What is searched.
        base: Digest of what all trials share.
        code: Digest of the code.
        create: Make it if it is not there.

    Returns:
        The study; None where there is none and none was to be made.

    Raises:
        UsageError: Sampler or pruner does not exist, or the study is of another configuration.
        TrackingError: The storage cannot be used.
    """
    library, url = optuna(), storage_url(search)
    if url.startswith("sqlite:///"):
        if not create and not os.path.exists(url.removeprefix("sqlite:///")):  # noqa: PTH110 - a URL, not a path
            return None
        runs_root().mkdir(parents=True, exist_ok=True)
    study = _load(library, url, name, search, create)
    if study is None:
        return None
    attributes = study.user_attrs
    if study.direction.name.lower() != search.direction or attributes.get(_BASE, base) != base:
        raise UsageError(
            f"the study {name} was made with another configuration or direction",
            "give the sweep another name, or take back the change",
        )
    if create:
        study.set_user_attr(_BASE, base)
        study.set_user_attr(_CODE, sorted({*attributes.get(_CODE, []), code}))
        # a trial, in a process of its own, needs it too
        pruner = search.pruner
        study.set_user_attr(_PRUNER, [pruner.name, dict(pruner.arguments)] if pruner else None)
    return study


def _load(library: Any, url: str, name: str, search: SearchSpec, create: bool) -> Any:
    """The study as it is in the storage, made where it is not and `create` says so; else None."""
    try:
        storage = library.storages.RDBStorage(url)
        known = {s.study_name: s for s in library.get_all_study_summaries(storage)}
        if not create and name not in known:
            return None
        count = known[name].n_trials if name in known else 0
        return library.create_study(
            study_name=name,
            storage=storage,
            direction=search.direction,
            sampler=_sampler(library, search, count),
            pruner=make_pruner(library, search.pruner),
            load_if_exists=True,
        )
    except UsageError:
        raise
    except Exception as error:  # SQLAlchemy, alembic and the drivers each raise their own
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise TrackingError(
            f"the sweep storage {redact(url)} cannot be used: {reason}", "check its URL"
        ) from error


def codes(study: Any) -> int:
    """How many versions of the code the study's trials were made with."""
    return len(study.user_attrs.get(_CODE, []))


def pruner_of(study: Any) -> Maker | None:
    """The pruner that the sweep noted in its study."""
    found = study.user_attrs.get(_PRUNER)
    return Maker(found[0], found[1]) if found else None


def distributions(search: SearchSpec) -> dict[str, Any]:
    """The search space in Optuna's terms."""
    kinds = optuna().distributions
    result: dict[str, Any] = {}
    for name, value in search.space.items():
        if not isinstance(value, Range):
            result[name] = kinds.CategoricalDistribution(value)
        elif value.whole:
            step = int(value.step or 1)
            result[name] = kinds.IntDistribution(int(value.low), int(value.high), log=value.log, step=step)
        else:
            result[name] = kinds.FloatDistribution(value.low, value.high, log=value.log, step=value.step)
    return result


def ask(study: Any, space: Mapping[str, Any]) -> Any:
    """The next trial.

    Raises:
        UsageError: The space has changed in a way that Optuna cannot follow.
    """
    try:
        return study.ask(fixed_distributions=dict(space))
    except ValueError as error:
        raise UsageError(
            f"the search space of study {study.study_name} has changed ({error})",
            "give the sweep another name",
        ) from error


def by_state(study: Any, *states: str) -> list[Any]:
    """Trials in these states (`complete`, `pruned`, `fail`, `running`), by number."""
    wanted = {state.upper() for state in states}
    return [t for t in study.get_trials(deepcopy=False) if t.state.name in wanted]


def live_trial(study: Any, frozen: Any) -> Any:
    """A trial that an earlier process began, to be gone on with."""
    return optuna().trial.Trial(study, frozen._trial_id)


def tell(study: Any, number: int, value: float | None, state: str) -> bool:
    """Say how a trial ended: `complete` with its value, `pruned` or `fail`.

    Returns:
        Whether the sampler has nothing left to try: its grid is searched.
    """
    states = optuna().trial.TrialState
    with warnings.catch_warnings():
        # a pruned trial that reported nothing has no value, and that is all right
        warnings.simplefilter("ignore")
        try:
            study.tell(number, value, states[state.upper()])
        except RuntimeError:
            # the trial is told; a sampler that wants to stop only knows how to stop `Study.optimize`
            if study.get_trials(deepcopy=False)[number].state.name != state.upper():
                raise
            return True
    return False


def best_trial(study: Any) -> Any | None:
    """The best complete trial, None where there is none."""
    try:
        return study.best_trial
    except ValueError:
        return None


def make_pruner(library: Any, maker: Maker | None) -> Any:
    """An Optuna pruner; one that never prunes for None.

    Raises:
        UsageError: There is no such pruner, or it refuses its arguments.
    """
    return library.pruners.NopPruner() if maker is None else _make(library.pruners, maker, "pruner", {})


def _sampler(library: Any, search: SearchSpec, trials_so_far: int) -> Any:
    """The sampler, seeded; a resumed sweep must not draw its first trials once more."""
    extra: dict[str, Any] = {}
    seed = search.sampler.arguments.get("seed", 0)
    if isinstance(seed, int):
        extra["seed"] = seed + trials_so_far
    if search.sampler.name == "GridSampler" and "search_space" not in search.sampler.arguments:
        ranges = [name for name, value in search.space.items() if isinstance(value, Range)]
        if ranges:
            raise UsageError(f"GridSampler cannot search the range of {ranges[0]}", "list its values")
        extra |= {"search_space": {k: list(_listed(v)) for k, v in search.space.items()}, "seed": seed}
    return _make(library.samplers, search.sampler, "sampler", extra)


def _listed(value: Any) -> Iterable[Any]:
    return value if isinstance(value, tuple) else ()


def _make(module: Any, maker: Maker, what: str, extra: Mapping[str, Any]) -> Any:
    cls = getattr(module, maker.name, None)
    if not isinstance(cls, type):
        known = ", ".join(n for n in module.__all__ if n.lower().endswith(what) and not n.startswith("Base"))
        raise UsageError(f"Optuna has no {what} {maker.name}", f"its {what}s: {known}")
    import inspect

    accepted = inspect.signature(cls).parameters
    arguments = {**maker.arguments, **{k: v for k, v in extra.items() if k in accepted}}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "… is experimental"
            return cls(**arguments)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"{what} {maker.name}({json.dumps(arguments, default=str)}): {error}", "see Optuna's manual"
        ) from error
