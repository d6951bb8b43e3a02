"""Networks of diffusers behind the signature that `Denoiser` calls."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from integrand.errors import UsageError

CLASSES = ("UNet2DModel", "UNet2DConditionModel", "DiTTransformer2DModel")


class DiffusersNetwork(nn.Module):
    """f(x, label, condition) of a diffusers network; its label is the step, its condition what the class
    takes.

    A `UNet2DConditionModel` takes text embeddings, shape (batch, tokens, width); a `DiTTransformer2DModel`
    class numbers, and so does a `UNet2DModel` that has classes. Where a network also returns a variance
    (DiT's second half of the channels), it is left out.

    Args:
        model: The network.
        negated: Whether the output changes sign: EDM networks of v prediction.

    Raises:
        UsageError: It is of another class, or does not say the size of its samples.
    """

    wide_labels = True

    def __init__(self, model: nn.Module, negated: bool = False) -> None:
        super().__init__()
        self.kind = type(model).__name__
        if self.kind not in CLASSES:
            raise UsageError(f"no samples are made from a {self.kind}", f"known: {', '.join(CLASSES)}")
        config: Any = model.config
        self.model, self.negated, self.config = model, negated, config
        size = config.sample_size
        if size is None:
            raise UsageError(f"the {self.kind} does not say its sample_size", "set it in config.json")
        height, width = (size, size) if isinstance(size, int) else size
        self.shape: tuple[int, ...] = (int(config.in_channels), int(height), int(width))

    @property
    def condition(self) -> str | None:
        """The name of the argument that takes the condition; None for an unconditional network."""
        if self.kind == "UNet2DConditionModel":
            return "encoder_hidden_states"
        classes = self.kind == "DiTTransformer2DModel" or self.config.num_class_embeds is not None
        return "class_labels" if classes else None

    @property
    def null(self) -> int | None:
        """The class that stands for none: the one after the last of a DiT; None where there is no such
        class.
        """
        return int(self.config.num_embeds_ada_norm) if self.kind == "DiTTransformer2DModel" else None

    @property
    def num_classes(self) -> int:
        """Classes that it is told, without the one for none; 0 where it is told none."""
        if self.condition != "class_labels":
            return 0
        dit = self.kind == "DiTTransformer2DModel"
        return int(self.config.num_embeds_ada_norm if dit else self.config.num_class_embeds)

    def forward(self, x: Tensor, label: Tensor, condition: Tensor | None = None) -> Tensor:
        """Shape of x; label of shape (batch,)."""
        named = {self.condition: condition} if self.condition is not None else {}
        output: Tensor = self.model(x, label, **named).sample[:, : x.shape[1]]
        return -output if self.negated else output
