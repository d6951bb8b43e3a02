"""Weights, gradients and optimiser states split over the processes of a fit: PyTorch's FSDP2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import lightning.pytorch as pl
import torch
from lightning.pytorch.strategies import ModelParallelStrategy, StrategyRegistry
from torch import distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.optim import Optimizer

from integrand.errors import UsageError

NAME = "fsdp2"
"""The strategy's name on the command line."""


class ShardedStrategy(ModelParallelStrategy):
    """Every process holds its share of weights, gradients and optimiser states, and its share of the data.

    Lightning's `ModelParallelStrategy` with all processes in one data-parallel group, and with checkpoints of
    one file that a single process reads.
    """

    strategy_name = NAME

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(save_distributed_checkpoint=False, **kwargs)

    def setup_environment(self) -> None:
        """Lay all processes out along the data."""
        self._data_parallel_size = self.num_nodes * self.num_processes
        self._tensor_parallel_size = 1
        super().setup_environment()

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """The whole weights on the first process, nothing on the others; every process must call this."""
        self._release()
        return super().lightning_module_state_dict()

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """Likewise, the state of an optimiser."""
        self._release()
        return super().optimizer_state(optimizer)

    def _release(self) -> None:
        if isinstance(self.lightning_module, Shardable):
            self.lightning_module.release_weights()


StrategyRegistry.register(NAME, ShardedStrategy, description="FSDP2: weights split over the processes")


class Shardable(pl.LightningModule):
    """A module whose weights can be split over the processes by the strategy `fsdp2`.

    A part of it is gathered before its forward pass and once more before its backward pass. In between
    nothing is exchanged, so that a solve inside such a part may take as many steps as its data ask for.
    Validation, test and what is drawn at the end of training see whole weights: processes then make unequal
    numbers of evaluations.
    """

    skips_parameters: ClassVar[bool] = False
    """Whether a training batch may leave out parts of the network."""

    _shards: Shards | None = None

    def shards(self) -> list[nn.Module]:
        """The parts that are gathered one by one, a part before what contains it.

        Raises:
            UsageError: The weights of this module cannot be split.
        """
        raise self.unshardable("it does not say what its parts are")

    def unshardable(self, why: str) -> UsageError:
        """The error that refuses the strategy.

        Args:
            why: The reason, as the end of a sentence.
        """
        return UsageError(
            f"{type(self).__name__} cannot be trained by {NAME}: {why}",
            "use --trainer.strategy ddp, where each process has all weights",
        )

    def check_shardable(self) -> None:
        """Refuse what cannot work, before any process starts.

        Raises:
            UsageError: The weights of this module cannot be split.
        """
        if self.skips_parameters:
            raise self.unshardable(
                "a batch may leave out parts of it, and processes would wait for each other"
            )
        inside = {id(p) for part in self.shards() for p in part.parameters()}
        for name, parameter in self.named_parameters():
            if parameter.requires_grad and id(parameter) not in inside:
                raise self.unshardable(f"{name} lies outside of its parts")
            if parameter.ndim == 0:
                raise self.unshardable(f"{name} is a single number, which cannot be split")

    def configure_model(self) -> None:
        """Split the weights, where the strategy has laid out the processes for that."""
        if self._device_mesh is not None and self._shards is None:
            self.check_shardable()
            self._shards = Shards(self, self._device_mesh["data_parallel"])

    def gather_weights(self) -> None:
        """Have the whole weights on every process until `release_weights`; every process must call this."""
        if self._shards is not None:
            self._shards.gather()

    def release_weights(self) -> None:
        """Keep this process's share alone."""
        if self._shards is not None:
            self._shards.release()

    def on_validation_start(self) -> None:
        """Whole weights for evaluation."""
        self.gather_weights()

    def on_validation_end(self) -> None:
        """Shares again."""
        self.release_weights()

    def on_test_start(self) -> None:
        """Whole weights for evaluation."""
        self.gather_weights()

    def on_test_end(self) -> None:
        """Shares again."""
        self.release_weights()

    def on_predict_start(self) -> None:
        """Whole weights for evaluation."""
        self.gather_weights()

    def on_predict_end(self) -> None:
        """Shares again."""
        self.release_weights()

    def on_train_end(self) -> None:
        """Shares again, after the callbacks have drawn what they draw."""
        self.release_weights()


class Shards:
    """The split parts of a module.

    Args:
        module: The module; its weights are split in place.
        mesh: The processes, one dimension.
    """

    def __init__(self, module: Shardable, mesh: DeviceMesh) -> None:
        self._module = module
        self._whole = False
        parts = module.shards()
        self._outer = {id(part) for part in _outermost(parts)}
        _equalise(module, mesh)
        self._parts: list[FSDPModule] = [
            # an outer part is needed again at once, when the backward pass begins
            fully_shard(part, mesh=mesh, reshard_after_forward=id(part) not in self._outer)
            for part in parts
        ]

    def gather(self) -> None:
        """Whole weights, and the first process's buffers, on every process."""
        if self._whole:
            return
        self._whole = True
        # tensors made in inference mode could not be used in training later
        with torch.inference_mode(False), torch.no_grad():
            for part in self._parts:
                self._set(part, whole=True)
                part.unshard()
            for buffer in self._module.buffers():
                dist.broadcast(buffer, 0)

    def release(self) -> None:
        """This process's share alone."""
        if not self._whole:
            return
        self._whole = False
        for part in self._parts:
            part.reshard()
            self._set(part, whole=False)

    def _set(self, part: FSDPModule, whole: bool) -> None:
        part.set_reshard_after_forward(not whole and id(part) not in self._outer, recurse=False)
        # likelihoods and energies differentiate in evaluation
        part.set_reshard_after_backward(not whole, recurse=False)
        part.set_requires_gradient_sync(not whole, recurse=False)


def _outermost(parts: Sequence[nn.Module]) -> list[nn.Module]:
    inner = {id(child) for part in parts for child in part.modules() if child is not part}
    return [part for part in parts if id(part) not in inner]


@torch.no_grad()
def _equalise(module: nn.Module, mesh: DeviceMesh) -> None:
    """Give every process the first one's weights, as DDP does: the shares of different nets make no net."""
    for tensor in (*module.parameters(), *module.buffers()):
        held = tensor.detach().to(mesh.device_type)
        dist.broadcast(held, 0)
        tensor.copy_(held)
