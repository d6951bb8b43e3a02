"""From what is wanted of samples to what a generative model takes as its sampler."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from integrand.diffusion import (
    BudgetError,
    Clip,
    Denoiser,
    ExplicitGrid,
    GuidanceError,
    IncompatibleError,
    Process,
    Sampler,
    ShiftedGrid,
    TimeGrid,
)
from integrand.modules.generative.few_steps import FewSteps, LearnedSteps
from integrand.modules.generative.flow_matching import FlowMatching
from integrand.modules.generative.sampling import Sampling
from integrand.solvers import ODESolver, RungeKutta
from integrand.solvers.errors import SolverOptionError

from ..errors import UsageError
from ..figures import Picture
from ..figures.samples import scatter, sheet
from ..suggest import did_you_mean
from .named import Named, presets


@dataclass(frozen=True)
class Wishes:
    """Under which conditions samples are wanted.

    Args:
        seed: Seed of the samples.
        guidance: Weight of classifier-free guidance; None for the model's own.
        label: Class number or name, or `none`; None takes every class in turn.
        grid: Time grid; None for the model's own.
        clip: Limit to which the predicted data is clamped at every step; None for no limit.
        batch_size: Samples at once; None for the model's own.
    """

    seed: int = 0
    guidance: float | None = None
    label: str | None = None
    grid: str | None = None
    clip: float | None = None
    batch_size: int | None = None


def is_diffusion(model: Any) -> bool:
    """Whether diffusion samplers apply, not ODE solvers alone."""
    return hasattr(model, "process")


def learns_steps(model: Any) -> bool:
    """Whether its network makes whole steps, so that it is sampled by `LearnedSteps`."""
    return isinstance(model, FewSteps)


def way(model: Any, wishes: Wishes, sampler: Named[Any] | None, nfe: int | None) -> Any:
    """What `GenerativeModule.sample` takes as `sampler`.

    Args:
        model: The generative module.
        wishes: The conditions.
        sampler: See `named_sampler`; None for the model's own.
        nfe: Network evaluations per sample at most; None for the model's own budget.

    Raises:
        UsageError: The sampler does not fit the model or the budget, or a wish asks for what the model cannot
            do.
    """
    if wishes.guidance is not None:
        _require_conditional(model, f"--guidance {wishes.guidance:g}")
    if nfe is not None and nfe < 1:
        raise UsageError(f"--nfe {nfe} evaluates nothing", "ask for 1 or more")
    if is_diffusion(model):
        return _diffusion(wishes, sampler, nfe, model.sampling, model.denoiser(), model.process, model.grid)
    if sampler is not None and issubclass(sampler.cls, Sampler):
        denoiser, process = model.as_diffusion()
        return _diffusion(wishes, sampler, nfe, Sampling(), denoiser, process, ShiftedGrid(1.0))
    if sampler is None and learns_steps(model):
        _refuse(model, wishes)
        return LearnedSteps(nfe or model.steps.num_steps)
    if sampler is not None and sampler.cls is model.own_sampler:
        _refuse(model, wishes)
        return sampler.make() if nfe is None else sampler.make(num_steps=nfe)
    return _flow(model, wishes, sampler, nfe)


def named_sampler(model: Any, text: str, init_args: dict[str, Any] | None = None) -> Named[Any]:
    """The sampler, or for a flow the ODE solver, that a text names.

    Raises:
        UsageError: Nothing has that name, or it is a sampler of the other kind of models.
    """
    if is_diffusion(model):
        return Named(Sampler, text, "sampler", init_args)
    if model.own_sampler is not None and text == model.own_sampler.__name__:
        return Named(model.own_sampler, text, "sampler", init_args)
    try:
        return Named(ODESolver, text, "solver", init_args)
    except UsageError:
        if text not in presets("sampler"):
            raise
        if not isinstance(model, FlowMatching):
            raise IncompatibleError(
                f"{text} is a sampler of diffusion models, and this is {type(model).__name__}",
                "a flow is sampled by an ODE solver, such as Euler, RK4 or Dopri5",
            ) from None
        model.as_diffusion()
        return Named(Sampler, text, "sampler", init_args)


def _diffusion(
    wishes: Wishes,
    sampler: Named[Sampler] | None,
    nfe: int | None,
    own: Sampling,
    denoiser: Denoiser,
    process: Process,
    usual: TimeGrid,
) -> Sampling:
    chosen = own.sampler if sampler is None else sampler.make()
    grid: TimeGrid = usual if wishes.grid is None else Named(TimeGrid, wishes.grid, "grid").make()  # type: ignore[type-abstract]
    guidance = own.guidance if wishes.guidance is None else wishes.guidance
    constraint = own.constraint if wishes.clip is None else Clip(wishes.clip)
    made = Sampling(chosen, grid, nfe or own.nfe, guidance, constraint)
    made.check(denoiser, process, grid)
    if isinstance(grid, ExplicitGrid) and nfe is not None:
        _require_own_steps(chosen, grid, nfe, 1 if guidance in (None, 1) else 2)
    if made.budget is None and nfe is not None:
        chosen.steps_for(nfe, grid.to_zero)  # raises: it chooses its evaluations itself
    return made


def _require_own_steps(sampler: Sampler, grid: ExplicitGrid, nfe: int, per_call: int) -> None:
    """Refuse a budget that is not that of a grid whose steps are given."""
    if sampler.steps_for(nfe // per_call, grid.to_zero) != grid.steps:
        raise BudgetError(
            f"{sampler.describe()} at NFE {nfe}: the model's grid has {grid.steps} steps and no others",
            "ask for the evaluations of its own steps, or for another grid",
        )


def _refuse(model: Any, wishes: Wishes) -> None:
    """Raise where something is wished that diffusion samplers alone have."""
    for name in ("grid", "clip"):
        if getattr(wishes, name) is not None:
            raise UsageError(
                f"--{name} is for diffusion models, and this is {type(model).__name__}", "leave it out"
            )


def _flow(model: Any, wishes: Wishes, sampler: Named[ODESolver] | None, nfe: int | None) -> ODESolver:
    _refuse(model, wishes)
    if sampler is None and nfe is None:
        own: ODESolver = model.solver
        return own
    named = sampler or Named(ODESolver, type(model.solver).__name__, "solver")  # type: ignore[type-abstract]
    if nfe is None:
        try:
            return named.make()
        except SolverOptionError as error:
            raise BudgetError(
                f"{named.label} takes fixed steps", "say how many evaluations: --nfe 20"
            ) from error
    if not issubclass(named.cls, RungeKutta):
        raise BudgetError(f"{named.cls.__name__} chooses its evaluations itself", "leave --nfe out")
    cost = named.cls.tableau.needed
    if nfe < cost:
        raise BudgetError(
            f"{named.label} needs at least NFE {cost}, not {nfe}", f"set --nfe to {cost} or more"
        )
    return named.make(num_steps=nfe // cost)


def labels(model: Any, label: str | None, n: int) -> Tensor | None:
    """The class of each sample, shape (n,); None where the model has none or takes them in turn.

    Raises:
        UsageError: The model is unconditional, or there is no such class.
    """
    if label is None:
        return None
    _require_conditional(model, f"--label {label}")
    spec = model.spec
    known = {name: i for i, name in enumerate(spec.class_names)}
    known |= {str(i): i for i in range(spec.num_classes)} | {"none": spec.num_classes}
    if label not in known:
        raise UsageError(
            f"{spec.name} has no class {label!r}{did_you_mean(label, known)}",
            f"classes: {', '.join(spec.class_names or map(str, range(spec.num_classes)))}, or none",
        )
    return torch.full((n,), known[label])


def _require_conditional(model: Any, option: str) -> None:
    if not model.conditional:
        raise GuidanceError(
            f"{option} was asked for, but the model is unconditional",
            "leave it out, or train with --model.conditional true",
        )


def picture(x: Tensor, data: Any) -> Picture:
    """A sheet of the first 64 images, or a scatter plot of points over data."""
    if x.ndim == 2:
        return scatter(x[:, :2].float().cpu().numpy(), plane(data))
    return sheet(pixels(x[:64], data))


def plane(data: Any, n: int = 1000) -> npt.NDArray[Any] | None:
    """Data points to draw behind samples, shape (n, 2); None where the data set can give none."""
    drawn = getattr(data, "reference", None)
    points: npt.NDArray[Any] | None = None if drawn is None else drawn(n).numpy()
    return points


def pixels(x: Tensor, data: Any) -> npt.NDArray[Any]:
    """Images in [0, 1] as a NumPy array; NaN where a sample is not finite."""
    back = getattr(data, "denormalise", None)
    x = x.detach().float().cpu()
    shown: Tensor = back(x) if back is not None else (x.clamp(-1, 1) + 1) / 2
    array: npt.NDArray[Any] = shown.masked_fill(~torch.isfinite(x), torch.nan).numpy()
    return array


def read_image(path: Path, shape: tuple[int, ...], data: Any) -> Tensor:
    """An image file as a model sees it.

    Args:
        path: Of any kind that Pillow reads.
        shape: (channels, height, width) that the model takes.
        data: The data set whose scale it has; None for [−1, 1].

    Returns:
        Shape `shape`, float32.

    Raises:
        UsageError: It is no image, has another size, or the model takes no images.
    """
    from PIL import Image

    mode = {1: "L", 3: "RGB"}.get(shape[0] if len(shape) == 3 else 0)
    if mode is None:
        raise UsageError(f"samples of shape {shape} do not start from an image", "leave out --image")
    try:
        with Image.open(path) as file:
            if file.size != (shape[2], shape[1]):
                width, height = file.size
                raise UsageError(
                    f"{path} has {width}×{height} pixels, and the model {shape[2]}×{shape[1]}",
                    "scale or crop it to that size",
                )
            array = np.asarray(file.convert(mode), dtype=np.float32) / 255
    except (OSError, ValueError, SyntaxError) as error:
        raise UsageError(f"{path} cannot be read as an image: {error}", "name a PNG or JPEG file") from error
    pixels = torch.from_numpy(array).view(shape[1], shape[2], shape[0]).permute(2, 0, 1)
    scaled: Tensor = pixels * 2 - 1 if data is None else data.scaled(pixels)
    return scaled
