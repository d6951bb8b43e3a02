"""Writes the experiments of generative models of points in the plane: arms differ in nothing but the arm.

python configs/experiment/generate_flows.py            write them
python configs/experiment/generate_flows.py --check    exit with 1 if a file would change
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from generate import keep, suite  # type: ignore[import-not-found]  # a script beside this one

# Some fifty evaluations a step, so fewer steps than flow matching takes, and a tolerance below the noise
LIKELIHOOD = ["kinetic: 0.02", "train_solver: {class_path: Dopri5, init_args: {rtol: 1.0e-4, atol: 1.0e-4}}"]


def diffusion(process: str, parametrisation: str | None = None) -> list[str]:
    """Arguments of a diffusion model; one that is not named predicts what is usual for its process."""
    said = [f"parametrisation: {{class_path: {parametrisation}}}"] if parametrisation else []
    return [f"process: {{class_path: {process}}}", *said, "likelihood_samples: 2000"]


# name: family, further lines of its arguments, epochs, learning rate
ARMS: dict[str, tuple[str, list[str], int, float]] = {
    "cfm": ("FlowMatching", ["path: {class_path: IndependentCFM}"], 60, 2e-3),
    "ot_cfm": ("FlowMatching", ["path: {class_path: OptimalTransportCFM}"], 60, 2e-3),
    "lipman": ("FlowMatching", ["path: {class_path: Lipman, init_args: {sigma: 0.01}}"], 60, 2e-3),
    "vp_cfm": ("FlowMatching", ["path: {class_path: VariancePreservingCFM}"], 60, 2e-3),
    "sb_cfm": (
        "FlowMatching",
        ["path: {class_path: SchroedingerBridgeCFM}"],
        60,
        2e-3,
    ),
    "rectified_flow": ("RectifiedFlow", [], 60, 2e-3),
    "cnf": ("CNF", LIKELIHOOD, 40, 2e-3),
    "ffjord": ("FFJORD", LIKELIHOOD, 40, 2e-3),
    "diffusion_vp": ("DiffusionModel", diffusion("VP"), 60, 2e-3),
    "diffusion_subvp": ("DiffusionModel", diffusion("SubVP"), 60, 2e-3),
    "diffusion_ve": ("DiffusionModel", diffusion("VE"), 60, 2e-3),
    "diffusion_edm": ("DiffusionModel", diffusion("EDM"), 60, 2e-3),
    "diffusion_v": ("DiffusionModel", diffusion("VP", "VelocityPrediction"), 60, 2e-3),
}
# All arms on the two sets that papers show most, and one of each kind on the others
FULL = ("two_moons", "eight_gaussians")
DATA = {
    "two_moons": "TwoMoons",
    "eight_gaussians": "EightGaussians",
    "pinwheel": "Pinwheel",
    "checkerboard": "Checkerboard",
    "swiss_roll": "SwissRoll",
    "circles": "Circles",
}
OTHERS = ("ot_cfm", "cnf", "diffusion_vp", "diffusion_edm")
SUITE = ("ot_cfm", "cfm", "lipman", "vp_cfm", "sb_cfm", "cnf", "ffjord")


def experiments() -> Iterator[tuple[str, str]]:
    """Path below this folder and text of every experiment that this script keeps."""
    for folder, data in DATA.items():
        for arm in ARMS if folder in FULL else OTHERS:
            yield f"{folder}/{arm}.yaml", text(folder, arm, data)
    arms = [f"{folder}/{arm}" for folder in FULL for arm in SUITE]
    head, *rest = suite("flows-2d", "", [], 3).splitlines()
    lines = [head, *rest[:2], *(f"  - experiment/{arm}.yaml" for arm in arms), *rest[2:]]
    yield "../suite/flows-2d.yaml", "\n".join(lines) + "\n"


def text(folder: str, arm: str, data: str) -> str:
    """An experiment file."""
    family, extra, epochs, lr = ARMS[arm]
    lines = [
        f"# integrand fit --config configs/experiment/{folder}/{arm}.yaml",
        "test_after_fit: true",
        "trainer:",
        f"  max_epochs: {epochs}",
        "  check_val_every_n_epoch: 5",
        "model:",
        f"  class_path: {family}",
        "  init_args:",
        "    backbone: {class_path: MLP, init_args: {hidden: 64, layers: 3}}",
        *(f"    {line}" for line in extra),
        "    optimizer:",
        "      class_path: torch.optim.Adam",
        f"      init_args: {{lr: {lr}}}",
        "    lr_scheduler:",
        "      class_path: torch.optim.lr_scheduler.CosineAnnealingLR",
        f"      init_args: {{T_max: {epochs}}}",
        "data:",
        f"  class_path: {data}",
        f"  init_args: {{batch_size: 256, train_size: {6_400 if extra == LIKELIHOOD else 25_600}}}",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    raise SystemExit(keep(experiments(), sys.argv[1:]))
