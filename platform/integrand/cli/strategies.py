"""How several processes train together: names of strategies, and what is refused before anything starts."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, StrategyRegistry
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from integrand.modules.sharded import NAME, Shardable

from ..errors import UsageError
from ..suggest import did_you_mean
from ..tracking.processes.children import watch_children

_GONE = {"dp": "ddp", "fsdp": NAME}
"""Names that older guides have, and what to take instead."""


def strategy(given: Any) -> Any:
    """The strategy to build the trainer with.

    Args:
        given: `--trainer.strategy`: a name, or an object.

    Raises:
        UsageError: There is no such strategy.
    """
    if not isinstance(given, str):
        return given
    known = ["auto", *StrategyRegistry.available_strategies()]
    if given in _GONE or given not in known:
        hint = f", did you mean {_GONE[given]}?" if given in _GONE else did_you_mean(given, known)
        raise UsageError(
            f"there is no strategy {given!r}{hint}",
            "docs/distributed.md says which to use; the usual one is ddp",
        )
    # Lightning checks some options against the object alone
    return StrategyRegistry.get(given) if given == NAME else given


def check(trainer: Trainer, model: LightningModule) -> None:
    """Refuse what would fail, hang or train wrongly in several processes.

    DDP is told to look for parameters without a gradient where a batch may leave out parts of the network.

    Args:
        trainer: The trainer, which knows its processes and devices.
        model: The module.

    Raises:
        UsageError: The combination cannot work.
    """
    watch_children(trainer)
    leaves_out = isinstance(model, Shardable) and model.skips_parameters
    if isinstance(trainer.strategy, DDPStrategy) and leaves_out:
        trainer.strategy._ddp_kwargs["find_unused_parameters"] = True
    if isinstance(trainer.strategy, ModelParallelStrategy) and isinstance(model, Shardable):
        model.check_shardable()
    for name, module in model.named_modules():
        if isinstance(module, nn.DataParallel):
            raise UsageError(
                f"model.{name} is an nn.DataParallel, whose replicas own no parameters and get no gradients",
                "use one process per device: --trainer.strategy ddp --trainer.devices N",
            )
    if getattr(trainer.strategy, "_layer_sync", None) is not None:
        _check_batch_norm(trainer, model)


def _check_batch_norm(trainer: Trainer, model: LightningModule) -> None:
    """Refuse to synchronise batch norm where there is none, or none that can be."""
    if not any(isinstance(module, _BatchNorm) for module in model.modules()):
        raise UsageError(
            "sync_batchnorm: this model has no batch norm to synchronise",
            "leave --trainer.sync_batchnorm out",
        )
    if trainer.strategy.root_device.type == "cpu":
        raise UsageError(
            "sync_batchnorm: PyTorch synchronises batch norm on GPUs only",
            "leave --trainer.sync_batchnorm out, or take group norm: --model.head group",
        )
