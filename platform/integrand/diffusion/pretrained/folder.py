"""Reading a diffusers checkpoint: a folder or a name on the hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from integrand.errors import UsageError

from ..constraints import DataConstraint
from ..denoiser import Denoiser
from ..grids import TimeGrid
from ..guidance import Guidance
from ..image_to_image import image_to_image
from ..processes import Process
from ..random_numbers import SampleNoise
from ..result import SampleResult
from ..samplers import DPMSolverPPMultistep, Sampler, draw_prior
from .grid import SchedulerGrid
from .library import require_diffusers
from .network import CLASSES, DiffusersNetwork
from .scheduler import read_scheduler


@dataclass
class Pretrained:
    """A model from elsewhere with everything that its config says.

    Args:
        denoiser: The network, read in its parametrisation.
        process: Its process.
        grid: Where its own scheduler puts its steps.
        constraint: What its own scheduler does to the predicted data.
        shape: Shape of one sample; of a latent model that of a latent.
    """

    denoiser: Denoiser
    process: Process
    grid: TimeGrid
    constraint: DataConstraint | None
    shape: tuple[int, ...]

    def sample(
        self,
        n: int,
        seed: int = 0,
        sampler: Sampler | None = None,
        nfe: int | None = None,
        steps: int | None = None,
        grid: TimeGrid | None = None,
        condition: Tensor | None = None,
        guidance: float | Guidance | None = None,
    ) -> SampleResult:
        """N samples of a seed.

        Args:
            n: How many.
            seed: Their seed; sample i of a seed is the same in every batch.
            sampler: Any sampler; DPM-Solver++(2M) where not given.
            nfe: Network evaluations per sample at most.
            steps: Number of steps, instead of nfe.
            grid: The scheduler's own where not given.
            condition: Condition of each sample.
            guidance: Classifier-free guidance, or its weight.
        """
        weight = next(self.denoiser.parameters())
        noise = SampleNoise(seed, (n, *self.shape), dtype=torch.float32, device=weight.device)
        grid = grid or self.grid
        return (sampler or DPMSolverPPMultistep(2)).sample(
            self.denoiser,
            self.process,
            grid,
            draw_prior(self.process, grid, noise),
            noise,
            nfe=nfe,
            steps=steps,
            condition=condition,
            guidance=guidance,
            constraint=self.constraint,
        )

    def edit(
        self,
        image: Tensor,
        strength: float,
        steps: int,
        seed: int = 0,
        sampler: Sampler | None = None,
        condition: Tensor | None = None,
        guidance: float | Guidance | None = None,
    ) -> SampleResult:
        """Samples that start from noised images; see `image_to_image`.

        Args:
            image: Shape (n, …), in the model's scale, [−1, 1] for most.
            strength: Share of the steps that are taken, in (0, 1].
            steps: Steps of a whole run.
            seed: Seed of the noise.
            sampler: Any sampler; DPM-Solver++(2M) where not given.
            condition: Condition of each sample.
            guidance: Classifier-free guidance, or its weight.

        Raises:
            UsageError: The images are not of the model's shape, or the strength leaves (0, 1].
        """
        if image.shape[1:] != self.shape:
            raise UsageError(
                f"images {tuple(image.shape[1:])} for a model of {self.shape}", "give (n, channels, h, w)"
            )
        device = next(self.denoiser.parameters()).device
        noise = SampleNoise(seed, image.shape, dtype=torch.float32, device=device)
        return image_to_image(
            sampler or DPMSolverPPMultistep(2),
            self.denoiser,
            self.process,
            self.grid,
            image.to(device, torch.float32),
            strength,
            noise,
            steps=steps,
            condition=condition,
            guidance=guidance,
            constraint=self.constraint,
        )


def load_diffusers(
    path: str | Path,
    scheduler: dict[str, Any] | str | Path | None = None,
    dtype: torch.dtype | None = None,
    null: Tensor | None = None,
    **options: Any,
) -> Pretrained:
    """A U-Net, DiT or pipeline checkpoint of diffusers with its scheduler's process and prediction.

    Args:
        path: Folder of a pipeline (`model_index.json`) or of a network (`config.json`), or their name on the
            hub.
        scheduler: Config of the scheduler it was trained with, or the folder that holds it; needed for a
            network that lies alone, else the pipeline's own.
        dtype: Dtype of the weights, such as torch.bfloat16; as they lie where not given.
        null: Embedding of the empty text, shape (tokens, width), which guidance of a text-conditional U-Net
            needs.
        **options: Passed to `from_pretrained`, such as `revision` or `use_safetensors`.

    Raises:
        UsageError: diffusers is not installed, nothing lies there, or it is of a kind that is not known.
    """
    library = require_diffusers()
    hub = {name: options[name] for name in _OF_THE_HUB if name in options}
    index = _config(library.DiffusionPipeline, path, **hub)
    part = next((name for name in ("unet", "transformer") if name in index), None)
    if part is not None:
        options["subfolder"] = part
        if scheduler is None:
            scheduler = _config(library.DDPMScheduler, path, subfolder="scheduler", **hub)
    if scheduler is None:
        scheduler = _beside(path)
    if not isinstance(scheduler, dict):
        scheduler = _config(library.DDPMScheduler, scheduler)
    config = index if part is None else _config(library.UNet2DModel, path, subfolder=part, **hub)
    name = str(config.get("_class_name", ""))
    if name not in CLASSES:
        raise UsageError(f"{path} holds {name or 'no network'}", f"known: {', '.join(CLASSES)}")
    if dtype is not None:
        options["torch_dtype"] = dtype
    try:
        model = getattr(library, name).from_pretrained(path, **options).eval().requires_grad_(False)
    except (OSError, ValueError, RuntimeError) as error:
        first = " ".join(str(error).split())[:200]
        raise UsageError(f"{path}: {first}", "name one whose weights are whole, as safetensors") from error
    reading = read_scheduler(scheduler)
    network = DiffusersNetwork(model, reading.negated)
    conditional = network.condition is not None
    denoiser = Denoiser(
        network, reading.process, reading.parametrisation, conditional, network.null if null is None else null
    )
    return Pretrained(denoiser, reading.process, SchedulerGrid(scheduler), reading.constraint, network.shape)


_OF_THE_HUB = ("revision", "local_files_only", "token", "cache_dir")
"""Options that name a version or a place, of configs as of weights."""


def _config(cls: Any, path: str | Path, **options: Any) -> dict[str, Any]:
    """A JSON config of a folder or of the hub.

    Raises:
        UsageError: There is none.
    """
    for reader in (cls, require_diffusers().UNet2DModel):
        try:
            return dict(reader.load_config(path, **options))
        except (OSError, ValueError) as error:
            failure = error
    first = str(failure).splitlines()[0]
    raise UsageError(f"{path}: {first}", "name a folder that save_pretrained wrote, or a model of the hub")


def _beside(path: str | Path) -> Path:
    """The folder that holds the scheduler's config of a network that lies alone.

    Raises:
        UsageError: There is none.
    """
    for folder in (Path(path), Path(path) / "scheduler", Path(path).parent / "scheduler"):
        if (folder / "scheduler_config.json").is_file():
            return folder
    raise UsageError(
        f"{path} is a network without a scheduler, which says what it predicts",
        "pass scheduler: the config it was trained with",
    )
