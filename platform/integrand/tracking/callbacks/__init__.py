"""The callbacks that every run gets."""

from __future__ import annotations

from lightning.pytorch.callbacks import Callback

from .adversarial_training import AdversarialTraining
from .agreement import Agreement
from .best_final import BestFinal
from .budget import Budget
from .checkpoints import BestCheckpoint, CheckpointContents, LastCheckpoint
from .cost_monitor import CostMonitor
from .dataset_input import DatasetInput
from .figures import Figures
from .headline import Headline
from .lifecycle import FinalStatus, Lifecycle
from .nonfinite_guard import NonFiniteGuard
from .preemption import Preemption
from .provenance import Provenance
from .record_writer import RecordWriter
from .solver_monitor import SolverMonitor
from .step_recorder import StepRecorder
from .whole_weights import WholeWeights

__all__ = [
    "AdversarialTraining",
    "Agreement",
    "BestCheckpoint",
    "BestFinal",
    "Budget",
    "CheckpointContents",
    "CostMonitor",
    "DatasetInput",
    "Figures",
    "FinalStatus",
    "Headline",
    "LastCheckpoint",
    "Lifecycle",
    "NonFiniteGuard",
    "Preemption",
    "Provenance",
    "RecordWriter",
    "SolverMonitor",
    "StepRecorder",
    "WholeWeights",
    "default_callbacks",
]


def default_callbacks(*, checkpointing: bool = True) -> list[Callback]:
    """What every run records, in the order in which it must happen.

    `Lifecycle` comes first, since it opens and tags the run; then what records values; then what sums them
    up; then the record, and last the final status.

    Args:
        checkpointing: False leaves out the checkpoints, for a trainer with `enable_checkpointing=False`.
    """
    lifecycle = Lifecycle()
    callbacks: list[Callback] = [
        lifecycle,
        Agreement(),
        WholeWeights(),
        Provenance(),
        DatasetInput(),
        NonFiniteGuard(),
        SolverMonitor(),
        StepRecorder(),
        CostMonitor(),
        Headline(),
        BestFinal(),
        Figures(),
        CheckpointContents(),
        Preemption(),
        RecordWriter(),
        FinalStatus(lifecycle),
    ]
    if checkpointing:
        callbacks += [BestCheckpoint(), LastCheckpoint()]
    return callbacks
