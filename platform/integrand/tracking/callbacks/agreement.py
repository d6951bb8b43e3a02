"""All processes of a fit must run the same code with the same configuration."""

from __future__ import annotations

import platform
import socket
from collections import defaultdict
from collections.abc import Mapping, Sequence

from lightning.pytorch import LightningModule, Trainer

from ...errors import UsageError
from ...version import __version__
from ..provenance.configuration import as_params
from ..provenance.manifest import versions
from ..provenance.source import source_digest
from .base import TrackingCallback, gathered_objects


class Agreement(TrackingCallback):
    """Compares versions, code and configuration of all processes before anything is trained.

    Nodes with their own installation drift apart, and their gradients would be averaged all the same.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Ask all processes.

        Raises:
            UsageError: They differ; names what and where.
        """
        super().setup(trainer, pl_module, stage)
        if trainer.world_size == 1:
            return
        # the recorder imports the callbacks
        from .config_recorder import ConfigRecorder

        described = description()
        for callback in trainer.callbacks:  # type: ignore[attr-defined]  # set by a connector
            if isinstance(callback, ConfigRecorder):
                described |= as_params(callback.reproducible())
        require_agreement(gathered_objects(trainer, (socket.gethostname(), described)))


def description() -> dict[str, str]:
    """What of this process's installation must be that of all, by name."""
    return {
        "Python": platform.python_version(),
        **versions(),
        "integrand": f"{__version__} (source {source_digest()[:8]})",
    }


def require_agreement(found: Sequence[tuple[str, Mapping[str, str]]]) -> None:
    """Refuse processes that differ.

    Args:
        found: Host and description of every process, by rank.

    Raises:
        UsageError: Names the first things that differ, and the ranks and hosts that have them.
    """
    differences = []
    for name in sorted({name for _, described in found for name in described}):
        where: dict[str, list[int]] = defaultdict(list)
        for rank, (_, described) in enumerate(found):
            where[described.get(name, "missing")].append(rank)
        if len(where) > 1:
            parts = [f"{value} on {_processes(ranks, found)}" for value, ranks in where.items()]
            differences.append(f"{name}: {', '.join(parts)}")
    if differences:
        raise UsageError(
            f"the processes of this fit differ: {'; '.join(differences[:4])}",
            "install the same versions on all machines (pip install -c constraints.txt), or use one image",
        )


def _processes(ranks: Sequence[int], found: Sequence[tuple[str, Mapping[str, str]]]) -> str:
    hosts = sorted({found[rank][0] for rank in ranks})
    shown = ", ".join(map(str, ranks[:4])) + (", …" if len(ranks) > 4 else "")
    return f"process{'es' if len(ranks) > 1 else ''} {shown} ({', '.join(hosts[:4])})"
