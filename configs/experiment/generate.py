"""Writes the experiments of every family, so that they differ in nothing but the family.

python configs/experiment/generate.py            write them
python configs/experiment/generate.py --check    exit with 1 if a file would change
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from integrand.errors import UsageError
from integrand.modules import families
from integrand.spec import DataSpec

FOLDER = Path(__file__).resolve().parent
BUDGET = 90_000
"""Parameters of every family on Fashion-MNIST, to within 5 %."""
FASHION = DataSpec("fashion-mnist", "image-classification", (1, 28, 28), num_classes=10)

# Blocks that bring the small nets to a similar depth: two convolutions in a block of the ResNet, four in one
# of RevNet and its kin, one in a step of the single-layer nets; elsewhere the family's own default.
BLOCKS = {
    "resnet": 3,
    "lm-resnet": 3,
    "momentum-resnet": 3,
    "revnet": 2,
    "hamiltonian-net": 3,
    "midpoint-net": 6,
    "antisymmetric-net": 6,
    "leapfrog-net": 6,
    "parabolic-cnn": 6,
    "hyperbolic-cnn": 6,
    "polynet": 2,
    "ho-resnet": 1,
}
# What the digits need to stay within seconds
SMALL: dict[str, dict[str, Any]] = {
    "taynode": {"order": 2, "intervals": 2},
    "augmented-neural-ode": {"augment": 4},
    "deep-equilibrium": {"tol": 1e-3, "max_iter": 20},
}
SOLVER = {"class_path": "Dopri5", "init_args": {"rtol": 1e-3, "atol": 1e-3}}
# an adaptive solver would search for every switch of every coordinate
SWITCHING_SOLVER = {"class_path": "Midpoint", "init_args": {"num_steps": 5}}
SWITCHING = {"class_path": "ContinuumDropout", "init_args": {"renewals": 2.0}}
# the size of the ensemble that the authors report: En5ResNet
ENSEMBLE = {"class_path": "FeynmanKac", "init_args": {"ensemble": 5}}
# Noise as a regulariser: on the ResNet, or on the neural ODE where there have to be no steps
NOISE: dict[str, tuple[str, Any]] = {
    "resnet_dropout": ("resnet", "Dropout"),
    "resnet_stochastic_depth": ("resnet", "StochasticDepth"),
    "resnet_shake_shake": ("resnet", "ShakeShake"),
    "resnet_gaussian_injection": ("resnet", "GaussianInjection"),
    "resnet_uniform_injection": ("resnet", "UniformInjection"),
    "resnet_feynman_kac": ("resnet", ENSEMBLE),
    "neural_ode_continuum_dropout": ("neural-ode", SWITCHING),
}
# The arms of the Fashion-MNIST suite: the control, one of each kind of scheme, the momentum family, one noise
FASHION_ARMS = (
    "no_block",
    "resnet",
    "lm_resnet",
    "ho_resnet",
    "revnet",
    "hamiltonian_net",
    "midpoint_net",
    "momentum_resnet",
    "parabolic_cnn",
    "resnet_stochastic_depth",
    "neural_ode",
    "augmented_neural_ode",
    "second_order_neural_ode",
    "heavy_ball_neural_ode",
    "generalized_heavy_ball_neural_ode",
)


def experiments() -> Iterator[tuple[str, str]]:
    """Path below this folder and text of every experiment that this script keeps."""
    for name, family, extra in arms():
        for folder, recipe in RECIPES.items():
            args = arguments(family, extra, recipe["channels"], small=folder == "digits")
            yield f"{folder}/{name}.yaml", text(f"{folder}/{name}", family.__name__, args, recipe)
    names = [name for name, _, _ in arms()]
    yield "../suite/digits-all.yaml", suite("digits-all", "digits", names, 5)
    yield "../suite/fashion-mnist.yaml", suite("fashion-mnist", "fashion_mnist", FASHION_ARMS, 3)


def suite(name: str, folder: str, arms: Iterable[str], seeds: int) -> str:
    """A suite of one data set."""
    return "\n".join(
        [
            f"# integrand suite run configs/suite/{name}.yaml",
            f"name: {name}",
            "experiments:",
            *(f"  - experiment/{folder}/{arm}.yaml" for arm in arms),
            f"seeds: [{', '.join(map(str, range(seeds)))}]",
            "",
        ]
    )


def arms() -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Name, family and further arguments of every arm: the families, and the noises on one of them."""
    own = {
        f.family: f for f in families() if f.task == FASHION.task and f.__module__.startswith("integrand.")
    }
    for slug, family in own.items():
        yield slug.replace("-", "_"), family, {}
    for name, (slug, noise) in NOISE.items():
        if (noise["class_path"] if isinstance(noise, dict) else noise) in known_noise():
            yield name, own[slug], {"noise": noise}


@lru_cache
def known_noise() -> frozenset[str]:
    """Names of the noises that exist."""
    from integrand.modules.classification import Noise
    from integrand.registry import subclasses

    base: Any = Noise
    return frozenset(c.__name__ for c in subclasses(base))


RECIPES: dict[str, dict[str, Any]] = {
    "digits": {
        "data": {"class_path": "Digits", "init_args": {"batch_size": 64, "augment": None}},
        "channels": 8,
        "epochs": 40,
        "lr": 0.01,
    },
    "fashion_mini": {
        "data": {"class_path": "FashionMini", "init_args": {"batch_size": 64, "augment": None}},
        "channels": 16,
        "epochs": 4,
        "lr": 0.01,
    },
    "fashion_mnist": {
        "data": {"class_path": "FashionMNIST", "init_args": {"batch_size": 128}},
        "channels": None,  # as many as meet the budget
        "epochs": 20,
        "lr": 0.003,
    },
}


def arguments(family: Any, extra: dict[str, Any], channels: int | None, small: bool) -> dict[str, Any]:
    """The arguments of a family: its width, its depth, and a solver where it has one."""
    args: dict[str, Any] = {}
    if family.family in BLOCKS:
        args["blocks"] = BLOCKS[family.family]
    if small:
        args |= SMALL.get(family.family, {})
    if family.uses_solver:
        args["solver"] = SWITCHING_SOLVER if extra.get("noise") == SWITCHING else SOLVER
    return {"channels": channels or channels_for(family, args, extra), **args, **extra}


def channels_for(family: Any, args: Mapping[str, Any], extra: Mapping[str, Any]) -> int:
    """The width at which a family comes closest to the budget."""
    from integrand.modules.noise.shake_shake import ShakeShake  # the one noise with weights

    depth = {k: v for k, v in args.items() if k != "solver"}
    if extra.get("noise") == "ShakeShake":
        depth["noise"] = ShakeShake()
    counts: dict[int, int] = {}
    for channels in range(20, 200):
        try:
            model = family(FASHION, channels=channels, **depth)
        except UsageError:  # a width that the family cannot take
            continue
        counts[channels] = sum(p.numel() for p in model.parameters() if p.requires_grad)
        if counts[channels] > 1.2 * BUDGET:
            break
    return min(counts, key=lambda c: abs(counts[c] - BUDGET))


def text(name: str, class_path: str, args: Mapping[str, Any], recipe: Mapping[str, Any]) -> str:
    """An experiment file."""
    epochs = recipe["epochs"]
    lines = [
        f"# integrand fit --config configs/experiment/{name}.yaml",
        "trainer:",
        f"  max_epochs: {epochs}",
        "model:",
        f"  class_path: {class_path}",
        "  init_args:",
        *block(args, 4),
        *block(
            {
                "optimizer": {"class_path": "torch.optim.Adam", "init_args": {"lr": recipe["lr"]}},
                "lr_scheduler": {
                    "class_path": "torch.optim.lr_scheduler.CosineAnnealingLR",
                    "init_args": {"T_max": epochs},
                },
            },
            4,
        ),
        "data:",
        *(line[2:] for line in block({"data": recipe["data"]}, 2)[1:]),
    ]
    return "\n".join(lines) + "\n"


def block(values: Mapping[str, Any], indent: int) -> list[str]:
    """Lines of a mapping; classes with their arguments on one line."""
    lines = []
    for key, value in values.items():
        pad = " " * indent
        if isinstance(value, Mapping):
            inner = ", ".join(f"{k}: {scalar(v)}" for k, v in value["init_args"].items())
            lines += [
                f"{pad}{key}:",
                f"{pad}  class_path: {value['class_path']}",
                f"{pad}  init_args: {{{inner}}}",
            ]
        else:
            lines.append(f"{pad}{key}: {scalar(value)}")
    return lines


def scalar(value: object) -> str:
    """A value as YAML reads it back."""
    if value is None:
        return "null"
    if isinstance(value, float) and value < 0.005:
        digits, _, exponent = f"{value:e}".partition("e")
        return f"{float(digits):.1f}e{int(exponent)}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def keep(files: Iterable[tuple[str, str]], argv: list[str]) -> int:
    """Write the files, or with `--check` only compare."""
    stale = []
    for name, content in files:
        path = FOLDER / name
        if path.is_file() and path.read_text(encoding="utf-8") == content:
            continue
        stale.append(name)
        if "--check" not in argv:
            path.write_text(content, encoding="utf-8")
    print("\n".join(stale) if stale else "nothing to do")
    return 1 if stale and "--check" in argv else 0


if __name__ == "__main__":
    raise SystemExit(keep(experiments(), sys.argv[1:]))
