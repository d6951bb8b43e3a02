"""Rectified flow and its reflow (Liu et al. 2023)."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from integrand import checkpoints
from integrand.diffusion import Trace
from integrand.errors import UsageError
from integrand.solvers import ODESolver
from integrand.spec import Spec

from .encoders.base import Encoder, digest_of_encoder, encoder_of, require_same_encoder
from .flow import Velocity
from .flow_matching import FlowMatching
from .paths import IndependentCFM
from .seeded import noise_rows

_TEACHERS = ("flow-matching", "rectified-flow")


class RectifiedFlow(FlowMatching):
    """Flow matching on straight lines, and with `teacher` once more on the pairs that its flow connects.

    The lines between a flow's own pairs of noise and sample cross less, so that the flow learnt from them is
    straighter and needs fewer steps. The network starts from the teacher's weights. Validation and test still
    compare with the data.

    Args:
        spec: What the data set publishes; the command line fills it in.
        teacher: Checkpoint of a flow-matching or rectified-flow run with the same backbone; null trains
            the first rectified flow, on independent pairs.
        pairs: Number of pairs that the teacher generates before training.
        pair_seed: Seed of their noise.
        solver: What integrates the flow, the teacher's included; any solver of the engine.
        eval_trace: How likelihoods get the trace; see `FlowModule`.
        **kwargs: See `GenerativeModule`.

    Raises:
        UsageError: The teacher cannot be used, or there are no pairs.
    """

    family = "rectified-flow"
    title = "Rectified flow"
    equation = "ẋ = f(t, x; θ), min E‖f(t, (1 − t) x₀ + t x₁) − (x₁ − x₀)‖²; reflow: x₁ = flow of x₀"
    reference = "Liu et al. 2023, Flow Straight and Fast: Learning to Generate and Transfer Data"

    def __init__(
        self,
        spec: Spec,
        teacher: str | None = None,
        pairs: int = 10_000,
        pair_seed: int = 1,
        solver: ODESolver | None = None,
        eval_trace: Trace | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(spec, IndependentCFM(), solver, eval_trace, **kwargs)
        if pairs < 1:
            raise UsageError(f"pairs={pairs} leaves nothing to learn from", "set model.pairs to 10000")
        self.teacher, self.num_pairs, self.pair_seed = teacher, pairs, pair_seed
        self._pairs: Tensor | None = None
        if teacher is not None:
            self.begin_at(teacher_weights(teacher, self.family, self.encoder))

    def on_fit_start(self) -> None:
        """Let the teacher generate the pairs; its weights are read anew: a resumed fit has its own by now."""
        super().on_fit_start()
        if self.teacher is None or self._pairs is not None:
            return
        self._pairs = self.connected(self.pair_seed, self.num_pairs)

    @property
    def teaching_times(self) -> list[float]:
        """At which times the states of the teacher's flow are kept."""
        return [0.0, 1.0]

    @torch.no_grad()
    def connected(self, seed: int, count: int) -> Tensor:
        """States of the teacher's flow at `teaching_times`, shape (n_t, count, …), from noise of a seed."""
        assert self.teacher is not None
        net = copy.deepcopy(self.net).requires_grad_(False).eval()
        net.load_state_dict(teacher_weights(self.teacher, self.family, self.encoder))
        noise = noise_rows(seed, 0, count, self.shape).to(self.device, self.sample_dtype)
        states = [
            self.solver.solve(Velocity(net), part, self.teaching_times).ys
            for part in torch.split(noise, self.sample_batch)
        ]
        return torch.cat(states, dim=1)

    def pairs(self, x: Tensor, stage: str) -> tuple[Tensor, Tensor]:
        """Pairs of the teacher in training, independent ones in evaluation and without a teacher."""
        if stage != "train" or self._pairs is None:
            return super().pairs(x, stage)
        rows = torch.randint(self._pairs.shape[1], (len(x),), device=x.device)
        return self._pairs[0, rows], self._pairs[-1, rows]


def teacher_weights(path: str, family: str, encoder: Encoder | None = None) -> dict[str, Tensor]:
    """The weights that evaluation uses, out of a checkpoint of a flow-matching family.

    Args:
        path: The checkpoint.
        family: For messages.
        encoder: Of the pupil.

    Raises:
        UsageError: It cannot be read, belongs to another family, or models other latents.
    """
    checkpoint = checkpoints.read(path)
    state = checkpoint["state_dict"]
    found = checkpoint.get("integrand", {}).get("family", "")
    if found and found not in _TEACHERS:
        raise UsageError(
            f"{path} is a checkpoint of {found}, which cannot teach {family}",
            f"take one of {' or '.join(_TEACHERS)}",
        )
    require_same_encoder(encoder_of(state), digest_of_encoder(encoder), path)
    for prefix in ("average.module.", "net."):
        weights = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        if weights:
            return weights
    raise UsageError(f"{path} holds no network", "name best.ckpt of a finished run")
