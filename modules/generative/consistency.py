"""Consistency models: one evaluation carries any noisy state to the data that its flow comes from."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from integrand.diffusion import SampleNoise
from integrand.outcome import Outcome
from integrand.solvers import SolveStats
from integrand.solvers.options import require_positive
from integrand.spec import Spec

from .backbones import MLP, Backbone, TimeNet, UNet
from .consistency_levels import ConsistencyLevels
from .diffusion import DiffusionModel
from .few_steps import FewSteps
from .teacher import check_levels, diffusion_teacher, heun_step, logarithm


class ConsistencyModel(FewSteps):
    """A network of the map f(x, σ) from a state x = x₀ + σε to the end of its probability flow.

    f is the same all along a path of the flow, and f(x, σ_min) = x. Trained by f(x₀ + σ_{i+1} ε) against
    f(x₀ + σ_i ε) without gradient, same x₀ and ε, by the improved techniques of Song & Dhariwal (2024): no
    average in the target, pseudo-Huber distance, weight 1/(σ_{i+1} − σ_i). With `teacher` the second state is
    one Heun step of a diffusion model's flow from the first instead (consistency distillation, Song et al.
    2023, Alg. 2). The loss of validation and test is that of training from data, on the finest grid.

    Args:
        spec: What the data set publishes; the command line fills it in.
        num_steps: Steps of sampling unless told otherwise, one evaluation each; further ones add noise again
            (Song et al. 2023, Alg. 1).
        teacher: Checkpoint of a diffusion run, of any process, whose flow is distilled; null trains from
            data.
        levels: The noise levels of training; with a teacher always the finest grid.
        sigma_data: Standard deviation of the data.
        huber: c/√d of the distance √(‖Δ‖² + c²) − c in d dimensions.
        backbone: The network; an MLP for points and a U-Net for images where omitted.
        **kwargs: See `GenerativeModule`.
    """

    family = "consistency"
    title = "Consistency model"
    equation = "f(x, σ) = c_skip x + c_out F(c_in x, σ; θ), min E w_i d(f(x_{i+1}, σ_{i+1}), sg f(x_i, σ_i))"
    reference = (
        "Song et al. 2023, Consistency Models, Eq. 5; Song & Dhariwal 2024, Improved Techniques for Training "
        "Consistency Models"
    )

    def __init__(
        self,
        spec: Spec,
        num_steps: int = 1,
        teacher: str | None = None,
        levels: ConsistencyLevels | None = None,
        sigma_data: float = 0.5,
        huber: float = 0.00054,
        backbone: Backbone | None = None,
        **kwargs: Any,
    ) -> None:
        require_positive(sigma_data=sigma_data, huber=huber)
        usual = UNet() if len(spec.input_shape) == 3 else MLP(hidden=128, frequencies=8)
        super().__init__(spec, backbone=backbone or usual, num_steps=num_steps, **kwargs)
        self.teacher, self.levels = teacher, levels or ConsistencyLevels()
        self.sigma_data, self.huber = sigma_data, huber
        self._total = math.inf
        self._flow: tuple[DiffusionModel] | None = None

    # ------------------------------------------------------------------ the function

    def consistency(self, net: TimeNet, x: Tensor, sigma: Tensor) -> Tensor:
        """The function f(x, σ), shape of x (Song et al. 2023, Eq. 5 and App. C; c_in of EDM).

        Args:
            net: The network F.
            x: States, shape (batch, …).
            sigma: Noise levels, shape (batch,).
        """
        s, d = sigma.view(-1, *[1] * (x.ndim - 1)), self.sigma_data
        above = s - self.levels.sigma_min
        norm = (s.square() + d**2).sqrt()
        out: Tensor = net(logarithm(sigma, self.levels.sigma_min, self.levels.sigma_max), x / norm)
        skip = d**2 / (above.square() + d**2)
        return skip * x + above * d / norm * out

    # ------------------------------------------------------------------ training

    def objective(self, x: Tensor, y: Tensor | None, stage: str) -> Outcome:
        """The distance between neighbouring levels of one draw; two evaluations, four with a teacher."""
        train = stage == "train"
        taught = train and self.teacher is not None
        low, high = self.levels.draw(len(x), self.progress if train and not taught else 1.0, x.device)
        low, high = low.to(x.dtype), high.to(x.dtype)
        noise, shape = torch.randn_like(x), (-1, *[1] * (x.ndim - 1))
        x_high = x + high.view(shape) * noise
        x_low = self._taught(x_high, high, low) if taught else x + low.view(shape) * noise
        net = self.active
        again = _rewind(net, x.device)
        found = self.consistency(net, x_high, high)
        again()
        with torch.no_grad():
            target = self.consistency(net, x_low, low)
        distance = self.distance(found - target)
        loss = (distance / (high - low)).mean()
        how = "two levels, one Heun step of the teacher" if taught else "two neighbouring levels"
        account = SolveStats(4 if taught else 2, vjps=int(train), solver=how)
        return Outcome({"loss": loss}, len(x), solves=[account])

    def distance(self, gap: Tensor) -> Tensor:
        """√(‖Δ‖² + c²) − c of each sample, shape (batch,) (Song & Dhariwal 2024)."""
        c = self.huber * math.sqrt(gap[0].numel())
        return (gap.square().flatten(1).sum(dim=1) + c**2).sqrt() - c

    @property
    def progress(self) -> float:
        """The share of the training that has passed; 1 where its end is not known."""
        return self.global_step / self._total if math.isfinite(self._total) else 1.0

    def setup(self, stage: str) -> None:
        """Load the teacher, and refuse one that cannot teach before anything is trained."""
        super().setup(stage)
        if stage == "fit" and self.teacher is not None:
            self._flow = (self.load_teacher(self.teacher),)

    def on_train_start(self) -> None:
        """Know the number of steps, by which the grid is refined."""
        super().on_train_start()
        self._total = float(self.trainer.estimated_stepping_batches)

    def load_teacher(self, path: str) -> DiffusionModel:
        """The diffusion model of a checkpoint.

        Raises:
            UsageError: It cannot teach this model.
        """
        teacher = diffusion_teacher(path, self.shape, encoder=self.encoder)
        check_levels(teacher, self.levels.sigma_min, self.levels.sigma_max)
        return teacher

    def _taught(self, x: Tensor, high: Tensor, low: Tensor) -> Tensor:
        """One step of the teacher's flow."""
        if self._flow is None:
            assert self.teacher is not None
            self._flow = (self.load_teacher(self.teacher),)
        (teacher,) = self._flow  # in a tuple, because a module in an attribute would be trained and saved
        teacher.to(x.device)
        return heun_step(teacher.denoiser(), teacher.process, x, high, low)

    # ------------------------------------------------------------------ sampling

    def take_steps(self, noise: Tensor, num_steps: int, draws: SampleNoise) -> Tensor:
        """From σ_max to the data, and for each further level up to it and down again (Song et al. 2023)."""
        sigmas = self.levels.steps(num_steps)
        x = sigmas[0] * noise
        for k, sigma in enumerate(sigmas):
            if k:
                x = x + math.sqrt(sigma**2 - self.levels.sigma_min**2) * draws.normals(k)
            x = self.consistency(self.trained, x, x.new_full((len(x),), sigma))
        return x


def _rewind(net: nn.Module, device: torch.device) -> Callable[[], None]:
    """What sets the random numbers back to now, so that a second pass drops the same features."""
    if not (net.training and any(isinstance(m, nn.Dropout) and m.p > 0 for m in net.modules())):
        return lambda: None
    if device.type == "cuda":
        state = torch.cuda.get_rng_state(device)
        return lambda: torch.cuda.set_rng_state(state, device)
    state = torch.get_rng_state()
    return lambda: torch.set_rng_state(state)
