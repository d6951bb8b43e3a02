"""From the options of `sample` and `sweep-samplers` to what a model is sampled with."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import TrackingError, UsageError
from . import sampler_names
from .loading import model_and_data, run_of
from .suggest import did_you_mean


@dataclass
class Loaded:
    """A generative model to sample from.

    Args:
        model: The module, in evaluation mode, on its device.
        data: Its data module.
        checkpoint: Where it was read from.
        run_id: The run that trained it; empty where unknown.
    """

    model: Any
    data: Any
    checkpoint: Path
    run_id: str

    @property
    def diffusion(self) -> bool:
        """Whether diffusion samplers apply, not ODE solvers alone."""
        return hasattr(self.model, "process")

    @property
    def conditional(self) -> bool:
        """Whether the model knows classes."""
        return bool(getattr(self.model, "conditional", False))


def add_source(parser: argparse.ArgumentParser) -> None:
    """The options that say which model, how many samples and under which conditions."""
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--ckpt", metavar="FILE", help="a .ckpt file that a fit has left")
    which.add_argument("--run", metavar="ID", help="a run id or its first letters, a run name, or latest")
    parser.add_argument("--seed", type=int, default=0, help="seed of the samples (default 0)")
    parser.add_argument("--guidance", type=float, metavar="W", help="weight of classifier-free guidance")
    parser.add_argument(
        "--label", metavar="CLASS", help="class number or name, or none; default: every class in turn"
    )
    parser.add_argument("--grid", metavar="GRID", help=f"time grid: {', '.join(sampler_names.GRIDS)}")
    parser.add_argument(
        "--clip", type=float, metavar="LIMIT", help="clamp the predicted data to ±LIMIT at every step"
    )
    parser.add_argument("--batch-size", type=int, metavar="N", help="samples at once")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default auto)")
    parser.add_argument(
        "--tracking-uri", metavar="URI", help="default: MLFLOW_TRACKING_URI or sqlite:///mlflow.db"
    )


def load(args: argparse.Namespace) -> Loaded:
    """The model that `--ckpt` or `--run` names.

    Raises:
        UsageError: It does not exist, or its family generates nothing.
        TrackingError: There is no such run, or it has no checkpoint.
    """
    import torch

    from integrand.modules.generative.base import GenerativeModule

    if args.tracking_uri:
        os.environ["MLFLOW_TRACKING_URI"] = args.tracking_uri
    if args.run:
        from .recorded import recorded_run

        try:
            found = recorded_run(args.run, "best")
        except TrackingError:
            # a fit that was never validated has no best checkpoint
            found = recorded_run(args.run, "last")
        checkpoint, run_id = found.checkpoint, found.run_id
    else:
        checkpoint = Path(args.ckpt)
        if not checkpoint.is_file():
            raise UsageError(f"no checkpoint {checkpoint}", "--run RUN_ID finds a run's own")
        run_id = run_of(checkpoint)
    model, data = model_and_data(checkpoint)
    if not isinstance(model, GenerativeModule):
        raise UsageError(
            f"{checkpoint} holds {type(model).__name__}, which generates nothing",
            "samples come from the generative families: integrand families --group generative",
        )
    device = args.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        model.to(device)
    except (RuntimeError, AssertionError) as error:
        first = str(error).splitlines()[0]
        raise UsageError(f"--device {device}: {first}", "integrand doctor lists the devices") from error
    return Loaded(model, data, checkpoint, run_id)


def plan(loaded: Loaded, args: argparse.Namespace, sampler: str | None, nfe: int | None) -> Any:
    """What `GenerativeModule.sample` takes as `sampler`.

    Args:
        loaded: The model.
        args: The options of `add_source`.
        sampler: Its name; None for the model's own.
        nfe: Network evaluations per sample at most; None for the model's own budget.

    Raises:
        UsageError: The sampler does not exist, does not fit the model or the budget, or an option asks for
            what the model cannot do.
    """
    if args.guidance is not None and not loaded.conditional:
        from integrand.diffusion import GuidanceError

        raise GuidanceError(
            f"--guidance {args.guidance:g} was asked for, but the model is unconditional",
            "leave it out, or train with --model.conditional true",
        )
    if nfe is not None and nfe < 1:
        raise UsageError(f"--nfe {nfe} evaluates nothing", "ask for 1 or more")
    return _diffusion(loaded, args, sampler, nfe) if loaded.diffusion else _flow(loaded, args, sampler, nfe)


def _diffusion(loaded: Loaded, args: argparse.Namespace, sampler: str | None, nfe: int | None) -> Any:
    from integrand.diffusion import Clip
    from integrand.modules.generative.sampling import Sampling

    own = loaded.model.sampling
    chosen = own.sampler if sampler is None else sampler_names.sampler(sampler)
    grid = loaded.model.grid if args.grid is None else sampler_names.grid(args.grid)
    guidance = own.guidance if args.guidance is None else args.guidance
    constraint = own.constraint if args.clip is None else Clip(args.clip)
    made = Sampling(chosen, grid, nfe or own.nfe, guidance, constraint)
    made.check(loaded.model.denoiser(), loaded.model.process, grid)
    if made.budget is None and nfe is not None:
        chosen.steps_for(nfe, grid.to_zero)  # raises: it chooses its evaluations itself
    return made


def _flow(loaded: Loaded, args: argparse.Namespace, sampler: str | None, nfe: int | None) -> Any:
    from integrand.diffusion import BudgetError
    from integrand.solvers.errors import SolverOptionError
    from integrand.solvers.runge_kutta.solver import RungeKutta

    for name in ("grid", "clip"):
        if getattr(args, name) is not None:
            raise UsageError(
                f"--{name} is for diffusion models, and this is {type(loaded.model).__name__}", "leave it out"
            )
    if sampler is None and nfe is None:
        return loaded.model.solver
    if sampler in sampler_names.SAMPLERS and sampler not in sampler_names.FLOW_SOLVERS:
        from integrand.diffusion import IncompatibleError

        raise IncompatibleError(
            f"{sampler} is a sampler of diffusion models, and this is {type(loaded.model).__name__}",
            f"a flow is sampled by an ODE solver: {', '.join(sampler_names.FLOW_SOLVERS)}",
        )
    name = sampler or type(loaded.model.solver).__name__
    cls = sampler_names.solver_class(name)
    if nfe is None:
        try:
            return sampler_names.solver(name, {})
        except SolverOptionError as error:
            raise BudgetError(f"{name} takes fixed steps", "say how many evaluations: --nfe 20") from error
    if not issubclass(cls, RungeKutta):
        raise BudgetError(f"{cls.__name__} chooses its evaluations itself", "leave --nfe out")
    cost = cls.tableau.needed
    if nfe < cost:
        raise BudgetError(f"{name} needs at least NFE {cost}, not {nfe}", f"set --nfe to {cost} or more")
    return sampler_names.solver(name, {"num_steps": nfe // cost})


def labels(loaded: Loaded, args: argparse.Namespace, n: int) -> Any:
    """The class of each sample, shape (n,); None where the model has none or takes them in turn.

    Raises:
        UsageError: The model is unconditional, or there is no such class.
    """
    import torch

    if args.label is None:
        return None
    spec = loaded.model.spec
    if not loaded.conditional:
        from integrand.diffusion import GuidanceError

        raise GuidanceError(
            f"--label {args.label} was asked for, but the model is unconditional",
            "leave it out, or train with --model.conditional true",
        )
    known = {name: i for i, name in enumerate(spec.class_names)}
    known |= {str(i): i for i in range(spec.num_classes)} | {"none": spec.num_classes}
    if args.label not in known:
        raise UsageError(
            f"{spec.name} has no class {args.label!r}{did_you_mean(args.label, known)}",
            f"classes: {', '.join(spec.class_names or map(str, range(spec.num_classes)))}, or none",
        )
    return torch.full((n,), known[args.label])
