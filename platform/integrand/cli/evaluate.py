"""`integrand evaluate`: measure trained models, and record what was found."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import IntegrandError, UsageError
from ..moved import current_evaluation
from ..suggest import did_you_mean
from .parser import Parser
from .trained import Trained, add_pretrained, add_source, load

if TYPE_CHECKING:
    from ..evaluations import Evaluation, Finding


def run(argv: Sequence[str]) -> int:
    """Run every evaluation that `--with` names on one model, or on all of an experiment.

    Args:
        argv: The arguments after `evaluate`.

    Returns:
        0 where all of it could be measured, 1 where a setting failed.

    Raises:
        UsageError: There is no such evaluation, or it does not fit the model; nothing has been measured.
        TrackingError: There is no such run, or the findings cannot be recorded.
    """
    parser = Parser(prog="integrand evaluate", description=__doc__)
    which = add_source(parser)
    add_pretrained(parser, which)
    which.add_argument(
        "--experiment", metavar="NAME", help="every finished run, with the evaluations that it lacks"
    )
    parser.add_argument(
        "--with", dest="names", required=True, metavar="NAME[,NAME]", help="evaluations; --list lists them"
    )
    parser.add_argument("--list", action="store_true", help="list evaluations and options, and stop")
    parser.add_argument(
        "--out", type=Path, default=Path("evaluations"), metavar="DIR", help="default ./evaluations"
    )
    if "--list" in argv:
        _list()
        return 0
    own, options = _split(argv)
    args = parser.parse_args(own)
    if args.experiment:
        return _experiment(args, options)
    wanted = _made(args.names.split(","), options)
    trained = load(args)
    if trained.data is None:
        raise UsageError("there is nothing to compare its samples with", "name a data set: --data NAME")
    for name, evaluation in wanted.items():
        if reason := evaluation.fits(trained.model, trained.data):
            model = type(trained.model).__name__
            raise UsageError(f"{name} does not fit {model}: {reason}", "integrand evaluate --list")
    return max([_evaluate(evaluation, trained, args) for evaluation in wanted.values()])


def _experiment(args: Any, options: list[str]) -> int:
    """Every finished run of an experiment with the evaluations that it lacks; what does not fit is said."""
    from ..tracking.store.runs import unevaluated

    asked = args.names.split(",")
    _made(asked, options)  # a wrong name or option is found before anything is measured
    worst = 0
    for run_id, lacking in unevaluated(args.experiment, asked, args.tracking_uri).items():
        if not lacking:
            continue
        # an evaluation keeps what it found, so every model gets one of its own
        wanted = _made(asked, options)
        args.run = run_id
        try:
            trained = load(args)
        except IntegrandError as error:
            print(f"{run_id[:8]}: {error}", file=sys.stderr)
            worst = 1
            continue
        print(f"{run_id[:8]} {type(trained.model).__name__}")
        worst = max(worst, *(_if_it_fits(wanted[name], trained, args) for name in lacking))
    return worst


def _if_it_fits(evaluation: Evaluation, trained: Trained, args: Any) -> int:
    """Measure where that is possible; else say why not."""
    try:
        reason = evaluation.fits(trained.model, trained.data)
        if not reason:
            return _evaluate(evaluation, trained, args)
    except UsageError as error:
        reason = str(error)
    print(f"  {evaluation.name} left out: {reason}", file=sys.stderr)
    return 0


def _split(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """The command's own words, and those of the evaluations: `--samples.nfe [5,10]`."""
    own: list[str] = []
    options: list[str] = []
    for word in argv:
        if word.startswith("--"):
            into = options if "." in word.partition("=")[0] else own
        elif not own and not options:
            into = own
        into.append(word)
    return own, options


def _made(names: Sequence[str], options: list[str]) -> dict[str, Evaluation]:
    """The evaluations with their options.

    Raises:
        UsageError: There is no such evaluation or option.
    """
    from jsonargparse import ArgumentError, ArgumentParser

    from ..evaluations import evaluations
    from .explain import explain

    known = evaluations()
    if unknown := next((name for name in names if name not in known), None):
        now = current_evaluation(unknown)
        meant = f", it is {now!r} now" if now in known else did_you_mean(unknown, known)
        raise UsageError(
            f"there is no evaluation {unknown!r}{meant}",
            f"choose from {', '.join(known)}",
        )
    parser = ArgumentParser(exit_on_error=False)
    for name in names:
        parser.add_class_arguments(known[name], name)
    try:
        made = parser.instantiate_classes(parser.parse_args(options))
    except ArgumentError as error:
        keys = [key for action in parser._actions for key in [action.dest] if "." in key]
        raise explain(str(error), keys, "evaluate") from error
    return {name: made[name] for name in names}


def _evaluate(evaluation: Evaluation, trained: Trained, args: Any) -> int:
    from ..tracking.findings import Findings

    files = Findings(evaluation, trained.run_id, args.tracking_uri)
    found: list[Finding] = []
    try:
        for finding in evaluation.measure(trained.model, trained.data):
            files.keep(finding)
            found.append(finding)
            print(f"  {finding.label:<28} {_shown(evaluation, finding)}")
    finally:
        if found:
            summary = evaluation.summary(found)
            for note in summary.notes:
                print(note)
            folder, names = files.finish(summary, args.out)
            print(f"  {folder}/: {', '.join(names)}")
            if files.recorded:
                print(f"  recorded: {len(found)} child runs of run {trained.run_id[:8]}")
                print(f"  compare: integrand compare --experiment NAME --evaluation {evaluation.name}")
            else:
                print(f"  not recorded: {trained.unrecorded}")
    failed = sum(bool(finding.error) for finding in found)
    if failed:
        print(f"{failed} of {len(found)} settings of {evaluation.name} failed", file=sys.stderr)
    return 1 if failed else 0


def _shown(evaluation: Evaluation, finding: Finding) -> str:
    value = finding.quantities.get(evaluation.headline)
    # a setting of its own kind has no headline
    shown = {evaluation.headline: value} if value is not None else finding.quantities
    score = "".join(f"{name} {number:.4g}  " for name, number in shown.items())
    cost = "  ".join(f"{name} {value:.4g}" for name, value in finding.cost.items())
    return f"{score}{cost}  {finding.error}".rstrip()


def _list() -> None:
    import inspect

    from ..evaluations import evaluations

    for name, cls in evaluations().items():
        print(f"{name}: {cls.title}")
        for option, parameter in inspect.signature(cls).parameters.items():
            print(f"  --{name}.{option} (default {parameter.default})")
