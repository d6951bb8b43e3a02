"""Networks and pipelines of diffusers as folders; the package is imported where one is made."""

import json


def network(kind, channels=2):
    """A small one with random weights."""
    import diffusers
    import torch

    torch.manual_seed(0)
    small = {
        "sample_size": 8,
        "in_channels": channels,
        "out_channels": channels,
        "block_out_channels": (8, 16),
    }
    small |= {"layers_per_block": 1, "norm_num_groups": 4}
    if kind == "UNet2DModel":
        return diffusers.UNet2DModel(
            **small, down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2
        )
    if kind == "UNet2DConditionModel":
        return diffusers.UNet2DConditionModel(
            **small,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            cross_attention_dim=6,
            attention_head_dim=4,
        )
    options = {"num_attention_heads": 2, "attention_head_dim": 4, "in_channels": 2, "out_channels": 4}
    model = diffusers.DiTTransformer2DModel(**options, num_layers=1, sample_size=8, num_embeds_ada_norm=5)
    with torch.no_grad():  # its last layer starts at zero
        model.proj_out_2.weight.normal_(std=0.3)
    return model


def saved(folder, kind, scheduler="DDIMScheduler", channels=2, **config):
    """A network and its scheduler as a pipeline's folder."""
    import diffusers

    part = "transformer" if kind.startswith("DiT") else "unet"
    model = network(kind, channels)
    model.save_pretrained(folder / part)
    made = getattr(diffusers, scheduler)(**config)
    made.save_pretrained(folder / "scheduler")
    index = {"_class_name": "Pipeline", part: ["diffusers", kind], "scheduler": ["diffusers", scheduler]}
    (folder / "model_index.json").write_text(json.dumps(index))
    return model.eval(), made
