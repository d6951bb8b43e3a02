"""The callbacks that every run gets."""

from __future__ import annotations

from lightning.pytorch.callbacks import Callback


def default_callbacks(*, checkpointing: bool = True) -> list[Callback]:
    """What every run records, in the order in which it must happen.

    Args:
        checkpointing: False leaves out the checkpoints, for a trainer with `enable_checkpointing=False`.
    """
    return []
