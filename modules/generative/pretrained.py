"""A model that was trained elsewhere, behind what sampling and evaluation ask of a generative module."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from integrand.diffusion import Denoiser, GuidanceError
from integrand.diffusion.pretrained import Pretrained
from integrand.diffusion.pretrained.network import DiffusersNetwork
from integrand.errors import UsageError
from integrand.solvers import SolveStats
from integrand.spec import Classes, Density, ImageSpec

from .backbones import Backbone, TimeNet
from .diffusion import DiffusionModel
from .encoders.base import ImageEncoder
from .evaluation import Evaluation
from .sampling import Sampling


class PretrainedDiffusion(DiffusionModel):
    """A checkpoint of diffusers as a diffusion model that is sampled and evaluated, and not trained.

    Process, prediction, clipping and the usual grid are those of its scheduler's config. It is no registered
    family: `load_diffusers` and a folder make it, not a configuration.

    Args:
        found: What `load_diffusers` returned.
        name: What it is called in tables.
        conditions: Embeddings that are dealt out in turn to samples without a condition, shape (k, …); needed
            for a model of texts that has no null embedding.
        evaluation: How samples are scored.
        encoder: Whose latents the model makes, the `vae` of its pipeline: samples are decoded to images.

    Raises:
        UsageError: It takes no embeddings, or makes no latents of the encoder.
    """

    family = ""

    def __init__(
        self,
        found: Pretrained,
        name: str,
        conditions: Tensor | None = None,
        evaluation: Evaluation | None = None,
        encoder: ImageEncoder | None = None,
    ) -> None:
        network = cast(DiffusersNetwork, found.denoiser.network)
        made = cast(tuple[int, int, int], found.shape)
        shape = made if encoder is None else encoder.images(made)
        classes = network.num_classes
        spec = ImageSpec(name, Classes(classes) if classes > 1 else Density(), shape)
        # before the base, which asks for the denoiser
        self.__dict__["_elsewhere"] = found.denoiser
        super().__init__(
            spec,
            process=found.process,
            parametrisation=found.denoiser.parametrisation,
            sampling=Sampling(grid=found.grid, constraint=found.constraint),
            backbone=_Given(found.denoiser),
            ema=None,
            evaluation=evaluation,
            encoder=encoder,
        )
        self.conditional = found.denoiser.conditional
        if conditions is not None and (network.condition != "encoder_hidden_states" or not len(conditions)):
            raise UsageError(
                f"{name} takes no embeddings as its condition, or there are none", "leave the conditions out"
            )
        self.conditions = conditions

    @property
    def sample_dtype(self) -> torch.dtype:
        """Float32 at least: the state is wider than half-precision weights."""
        return torch.promote_types(super().sample_dtype, torch.float32)

    def denoiser(self, net: TimeNet | None = None) -> Denoiser:
        """The network with its own labels and conditions."""
        return cast(Denoiser, self.__dict__["_elsewhere"])

    def generate(
        self, noise: Tensor, rows: range, seed: int, sampler: Any = None, y: Tensor | None = None
    ) -> tuple[Tensor, SolveStats]:
        """See `DiffusionModel.generate`; the condition is a class or an embedding for each sample.

        Raises:
            GuidanceError: A model of texts got no embeddings and has none for the empty text.
        """
        if y is None and self.conditional and not self.spec.num_classes:
            y = self._embeddings(rows)
        return super().generate(noise, rows, seed, sampler, None if y is None else y.to(noise.device))

    def _embeddings(self, rows: range) -> Tensor:
        """One embedding for each sample: those that were given in turn, else that of the empty text."""
        null = self.denoiser().null
        if self.conditions is not None:
            return self.conditions[[i % len(self.conditions) for i in rows]]
        if isinstance(null, Tensor):
            return null.expand(len(rows), *null.shape)
        raise GuidanceError(
            f"{self.spec.name} needs text embeddings, and got none",
            "give some, shape (texts, tokens, width), or that of the empty text as null",
        )


class _Given(Backbone):
    """A network that is there already.

    Args:
        denoiser: It, as samplers call it.
    """

    def __init__(self, denoiser: Denoiser) -> None:
        self.denoiser = denoiser

    def build(self, shape: tuple[int, ...], num_classes: int = 0) -> TimeNet:
        """See `Backbone`."""
        return _Network(self.denoiser)


class _Network(TimeNet):
    def __init__(self, denoiser: Denoiser) -> None:
        super().__init__()
        self.denoiser = denoiser

    def forward(self, t: Tensor, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The prediction at times t of the process."""
        value: Tensor = self.denoiser(x, t.expand(len(x)), y)
        return value
