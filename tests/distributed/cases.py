"""What two processes compute and one process checks: every family, and every way to get a gradient.

Imported by the tests and by the worker processes.
"""

from dataclasses import dataclass, field
from typing import Any

import torch

from integrand.modules import families, noise
from integrand.modules.uncertainty.members import three_blocks
from integrand.solvers import SDIRK3, Dopri5, Reversible, TorchDiffEq
from integrand.spec import Classes, Density, ImageSpec, VectorSpec

IMAGES = ImageSpec("made-up", Classes(3), (1, 8, 8))
POINTS = VectorSpec("made-up", Density(), 2)
BATCH = 8
"""Samples of one process; the single process has twice as many."""
RTOL = 1e-5
"""Tolerance of adaptive solves here: far from the rounding error, and from what a mistake would make."""


@dataclass
class Case:
    """One family with one way to get its gradient.

    Args:
        family: The family.
        options: Arguments of its constructor.
        adaptive: Whether the number of evaluations depends on the batch.
        drawn: Whether the loss depends on random numbers.
    """

    family: Any
    options: dict[str, Any] = field(default_factory=dict)
    adaptive: bool = False
    drawn: bool = False

    @property
    def tolerance(self) -> float:
        """Largest error relative to the largest gradient.

        Fixed steps: both sides add the same numbers in another order, a few ulp of float64 (2e-16) for each of
        some hundred operations in a row. Adaptive: the processes take other steps than one process does, and
        either gradient is off by rtol times the growth of an error along the solve; these fields are tame.
        """
        return 100 * RTOL if self.adaptive and not self.drawn else 1e-12

    def build(self) -> Any:
        """The module, the same at every call."""
        torch.manual_seed(0)
        # a process takes batch statistics of its own samples: two of them are another function than one
        if self.family.models != "outputs":
            module = self.family(POINTS if VectorSpec in self.family.takes else IMAGES, **self.options)
        elif self.family.group == "uncertainty":
            module = self.family(IMAGES, member=_member, **self.options)
        else:
            module = self.family(IMAGES, channels=4, head="group", **self.options)
        return module.double().train()

    def batch(self) -> Any:
        """The global batch."""
        generator = torch.Generator().manual_seed(1)
        if self.family.models != "outputs" and VectorSpec in self.family.takes:
            return torch.randn(2 * BATCH, 2, generator=generator, dtype=torch.float64)
        x = torch.randn(2 * BATCH, *IMAGES.input_shape, generator=generator, dtype=torch.float64)
        return x, torch.randint(IMAGES.num_classes, (2 * BATCH,), generator=generator)


def _member(spec, **options):
    return three_blocks(spec, channels=4, head="group", **options)


def loss_of(module, batch, solves=()):
    """What training minimises, without a trainer; `solves` is a list that takes the accounts."""
    outcome = module.step(batch, "train")
    solves += type(solves)(outcome.solves)
    return outcome.loss


def shard(batch, rank):
    """Every second row, as `Shard` deals them out."""
    return tuple(part[rank::2] for part in batch) if isinstance(batch, tuple) else batch[rank::2]


def _modes():
    """Every engine's every gradient mode, by adaptive and by fixed steps where it has both."""
    tight = {"rtol": RTOL, "atol": RTOL}
    for engine in (TorchDiffEq, Dopri5, SDIRK3):
        for gradient in engine.gradients:
            yield f"{engine.__name__}-{gradient}", engine(**tight, gradient=gradient), True
            fixed = {"method": "rk4"} if engine is TorchDiffEq else {}
            yield (
                f"{engine.__name__}-fixed-{gradient}",
                engine(**fixed, num_steps=3, gradient=gradient),
                False,
            )
    yield "reversible", Reversible(num_steps=3), False


MODES = {name: (solver, adaptive) for name, solver, adaptive in _modes()}


OF_IMAGES = [f for f in families() if ImageSpec in f.takes or VectorSpec in f.takes]
"""The families of the cases; those of series are like them in all that processes share."""


def _plain():
    """Every family as it is, its tolerances tightened where a solver has them."""
    tight = Dopri5(rtol=RTOL, atol=RTOL)
    for family in OF_IMAGES:
        options, adaptive, drawn = {}, family.uses_solver, family.stochastic
        if family.family in {"cnf", "ffjord"}:
            # without a random direction the likelihood is a function of the data
            options, drawn = {"train_solver": tight}, family.family == "ffjord"
        elif family.group == "generative":
            options = {"channels": 8} if VectorSpec not in family.takes else {}
            adaptive = False
        elif family.uses_solver:
            # RNODE's penalty is estimated along a random direction
            options, drawn = {"solver": tight}, drawn or family.family == "rnode"
        elif family.family == "deep-equilibrium":
            # a search that ends when it is accurate enough
            options, adaptive = {"tol": 1e-8, "max_iter": 200}, True
        yield family.family, Case(family, options, adaptive, drawn)


def _noises():
    """Every noise that may be added to a family."""
    resnet = next(f for f in families() if f.family == "resnet")
    for name in noise.__all__:
        continuous = name == "ContinuumDropout"
        steps = {"solver": TorchDiffEq(method="rk4", num_steps=3)} if continuous else {}
        family = NEURAL_ODE if continuous else resnet
        yield (
            f"{family.family} with {name}",
            Case(family, {"noise": getattr(noise, name)(), **steps}, drawn=True),
        )


def _fits(family, mode):
    """The implicit solver takes minutes on the larger states of some families; the neural ODE stands for them."""
    return family.family == "neural-ode" or not mode.startswith("SDIRK3")


def _modes_of(family):
    if family.family == "neural-sde":
        for gradient in ("backprop", "checkpoint"):
            yield f"neural-sde {gradient}", Case(family, {"gradient": gradient}, drawn=True)
    elif family.models == "outputs" and family.uses_solver:
        for name, (solver, adaptive) in MODES.items():
            if not _fits(family, name):
                continue
            drawn = family.stochastic or family.family == "rnode"
            yield f"{family.family} {name}", Case(family, {"solver": solver}, adaptive, drawn)
    elif family.family in {"cnf", "ffjord"}:
        for name, (solver, adaptive) in MODES.items():
            if not _fits(family, name):
                continue
            drawn = family.family == "ffjord"
            yield f"{family.family} {name}", Case(family, {"train_solver": solver}, adaptive, drawn)


NEURAL_ODE = next(f for f in families() if f.family == "neural-ode")
FAMILIES = dict(_plain()) | dict(_noises())
"""Every family once, and every noise."""
EVERY_MODE = {name: case for family in OF_IMAGES for name, case in _modes_of(family)}
"""Every family in every gradient mode."""
CASES = FAMILIES | EVERY_MODE
"""All of them."""
