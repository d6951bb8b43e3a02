"""Writes the experiments with published settings: CIFAR-10, CIFAR-100 and MNIST (docs/published.md).

python configs/experiment/generate_published.py            write them
python configs/experiment/generate_published.py --check    exit with 1 if a file would change
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from generate import block, keep  # type: ignore[import-not-found]  # a script beside this one


def sgd(lr: float, weight_decay: float, nesterov: bool = False) -> dict[str, Any]:
    """SGD with momentum 0.9."""
    args: dict[str, Any] = {"lr": lr, "momentum": 0.9, "weight_decay": weight_decay}
    return {"class_path": "torch.optim.SGD", "init_args": args | ({"nesterov": True} if nesterov else {})}


def steps(*milestones: int) -> dict[str, Any]:
    """A tenth of the learning rate after each milestone, in epochs."""
    args = {"milestones": f"[{', '.join(map(str, milestones))}]", "gamma": 0.1}
    return {"class_path": "torch.optim.lr_scheduler.MultiStepLR", "init_args": args}


def cosine(epochs: int) -> dict[str, Any]:
    """To 0 along a cosine."""
    return {"class_path": "torch.optim.lr_scheduler.CosineAnnealingLR", "init_args": {"T_max": epochs}}


def adam(lr: float) -> dict[str, Any]:
    """Adam."""
    return {"class_path": "torch.optim.Adam", "init_args": {"lr": lr}}


# He et al. 2016, section 4.2: 64,000 iterations of 128 images on 45,000, lr / 10 at 32,000 and 48,000
RESIDUAL = (182, 128, sgd(0.1, 1e-4), steps(91, 137))
# Gomez et al. 2017, released configuration: 80,000 iterations of 100 images, lr / 10 at 40,000 and 60,000
REVERSIBLE = (178, 100, sgd(0.1, 2e-4), steps(89, 133))
# Huang et al. 2016: 500 epochs, lr / 10 at half and three quarters
DROPPED = (500, 128, sgd(0.1, 1e-4, nesterov=True), steps(250, 375))
# Gastaldi 2017: 1,800 epochs, lr 0.2, one cosine
SHAKEN = (1800, 128, sgd(0.2, 1e-4, nesterov=True), cosine(1800))
# Xia et al. 2021, released script for CIFAR-10: 40 epochs of Adam
CIFAR_ODE = (40, 256, adam(1e-3), None)
# the same for MNIST, where the script halves its lr of 1e-4
MNIST_ODE = (40, 64, adam(5e-5), None)

Recipe = tuple[int, int, dict[str, Any], dict[str, Any] | None]


def layout(name: str, **args: Any) -> Any:
    """A layout with its arguments."""
    return {"class_path": name, "init_args": args} if args else name


def nets() -> Iterator[tuple[str, str, dict[str, Any], Recipe]]:
    """Name, class, arguments and recipe of the discrete nets, for both CIFAR sets."""
    args: dict[str, Any]
    for n in (3, 5, 7, 9, 18):
        args = {"channels": 16, "blocks": n, "layout": "CIFARStages"}
        yield f"resnet_{6 * n + 2}", "ResNet", args, RESIDUAL
        if n < 18:
            yield f"lm_resnet_{6 * n + 2}", "LMResNet", args, RESIDUAL
    widths = "[32, 64, 112]"
    args = {"channels": 32, "blocks": 3, "layout": layout("RevNetStages", widths=widths)}
    yield "revnet_38", "RevNet", args, REVERSIBLE
    args = {"channels": 32, "blocks": 6, "h": 0.1, "layout": layout("HamiltonianStages", widths=widths)}
    yield "hamiltonian_74", "HamiltonianNet", args, REVERSIBLE
    noise = {"class_path": "StochasticDepth", "init_args": {"survival": 0.5, "per": "batch"}}
    args = {"channels": 16, "blocks": 18, "noise": noise, "layout": "CIFARStages"}
    yield "stochastic_depth_110", "ResNet", args, DROPPED
    args = {"channels": 32, "blocks": 4, "noise": "ShakeShake", "layout": "ShakeStages"}
    yield "shake_shake_26_2x32d", "ResNet", args, SHAKEN


def continuous(image: int) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Name, class and arguments of the neural ODE family, by channels of the image."""
    cifar = image == 3
    tol = 1e-3 if cifar else 1e-4
    solver = {"class_path": "Dopri5", "init_args": {"rtol": tol, "atol": tol}}

    def args(channels: int, hidden: int, **more: Any) -> dict[str, Any]:
        return {"channels": channels, **more, "solver": solver, "layout": layout("ImageState", hidden=hidden)}

    yield "neural_ode", "NeuralODE", args(image, 125 if cifar else 92)
    yield "augmented_neural_ode", "AugmentedNeuralODE", args(image, 64, augment=10 if cifar else 5)
    yield "second_order_neural_ode", "SecondOrderNeuralODE", args(12 if cifar else 5, 50)
    yield "heavy_ball_neural_ode", "HeavyBallNeuralODE", args(12 if cifar else 5, 51 if cifar else 50)
    more = {"learn_xi": False} if cifar else {}
    general = args(12 if cifar else 6, 51 if cifar else 45, **more)
    yield "generalized_heavy_ball_neural_ode", "GeneralizedHeavyBallNeuralODE", general


def experiments() -> Iterator[tuple[str, str]]:
    """Path below this folder and text of every experiment that this script keeps."""
    for folder, data in (("cifar10", "CIFAR10"), ("cifar100", "CIFAR100")):
        for name, family, args, recipe in nets():
            if folder == "cifar10" or "shake" not in name:  # the paper shakes another net on CIFAR-100
                yield f"{folder}/{name}.yaml", text(f"{folder}/{name}", family, args, data, recipe)
    for folder, data, image, recipe in (
        ("cifar10", "CIFAR10", 3, CIFAR_ODE),
        ("mnist", "MNIST", 1, MNIST_ODE),
    ):
        for name, family, args in continuous(image):
            yield f"{folder}/{name}.yaml", text(f"{folder}/{name}", family, args, data, recipe)


def text(name: str, family: str, args: dict[str, Any], data: str, recipe: Recipe) -> str:
    """An experiment file."""
    epochs, batch_size, optimizer, schedule = recipe
    augment = ", augment: null" if schedule is None else ""  # the neural ODE papers use none
    return "\n".join(
        [
            f"# integrand fit --config configs/experiment/{name}.yaml",
            "trainer:",
            f"  max_epochs: {epochs}",
            "model:",
            f"  class_path: {family}",
            "  init_args:",
            *block(args, 4),
            *block({"optimizer": optimizer} | ({"lr_scheduler": schedule} if schedule else {}), 4),
            "data:",
            f"  class_path: {data}",
            f"  init_args: {{batch_size: {batch_size}{augment}}}",
            "",
        ]
    )


if __name__ == "__main__":
    raise SystemExit(keep(experiments(), sys.argv[1:]))
