"""What every family shares: declared properties, its task, and Lightning's steps around its own."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor
from torchmetrics import Metric

from integrand.datamodules.base import data_of
from integrand.datamodules.sharding import weight_of_step
from integrand.errors import UsageError
from integrand.outcome import Outcome
from integrand.quantities import Direction, mode_of
from integrand.solvers import SolveStats
from integrand.solvers.options import given
from integrand.spec import Density, Events, Question, Spec, plural
from integrand.tasks import answered, find_task
from integrand.tasks.base import Models, Task, VectorField

from .defaults import Maker
from .from_checkpoint import network
from .means import weigh_exactly
from .schedules import Interval, with_schedule
from .settings import short
from .sharded import Shardable


class FamilyModule(Shardable):
    """A family of networks read as differential equations, ready to train on the task that its data asks.

    Subclasses with a non-empty `family` are registered: they get a short name on the command line, a row in
    `integrand families`, and are run through the conformance suite, which checks the declarations below.

    What a network says may be random or a mixture: `draws(x, count)` gives single draws, `components` how
    many there are, `task.pool` what several say together, and `doubts(x)` what a family has to measure its
    own ignorance by. All of them mean evaluation mode, and keep the graph.

    Args:
        spec: What the data set publishes; the command line fills it in.
        optimizer: Makes the optimiser from the parameters; default Adam with lr 1e-3.
        lr_scheduler: Makes the learning-rate schedule from the optimiser.
        lr_scheduler_interval: Whether it takes a step each `epoch` or each `step`; by default what it is made
            for: each step with OneCycleLR and CyclicLR, else each epoch.
        metrics: Metrics beside those of the task, of torchmetrics or of your own, called as
            `update(said, target)`.
        metric_directions: Whether `larger`, `smaller` or `neither` is better, by the metric's name, where its
            class does not say so by `higher_is_better`.

    Raises:
        UsageError: The data set asks what this family does not answer, or a metric does not fit it.
    """

    family: ClassVar[str] = ""
    """Slug such as `neural-ode`; empty on abstract bases."""
    title: ClassVar[str] = ""
    """The field's name for the family."""
    group: ClassVar[str] = ""
    """One of `integrand.modules.GROUPS`."""
    models: ClassVar[Models] = "outputs"
    """What it is a model of: of outputs given an input, or of the distribution of the inputs."""
    takes: ClassVar[tuple[type[Spec], ...]] = ()
    """The kinds of input that its mathematics allows."""
    answers: ClassVar[tuple[type[Question], ...]] = ()
    """The kinds of question that its mathematics allows; empty for all that a task of its kind asks."""
    equation: ClassVar[str] = ""
    """The equation in one line, in the symbols of the reference."""
    reference: ClassVar[str] = ""
    """Author, year, and equation number."""
    uses_solver: ClassVar[bool] = False
    """Whether a configurable solver integrates it."""
    stochastic: bool = False
    """Whether two evaluations in training mode may differ; with noise the network's own attribute says so."""
    reversible: ClassVar[bool] = False
    """Whether inputs are recomputed from outputs in the backward pass."""
    skips_parameters: ClassVar[bool] = False
    """Whether a training batch may leave out parts of the network; DDP then has to look for them."""
    needs_grad_at_eval: bool = False
    """Whether evaluation differentiates (energies, scores, divergences): inference mode is then off."""

    def __init__(
        self,
        spec: Spec,
        # the papers of the neural ODE family use Adam at 1e-3; a lambda, so that the command line can read it
        optimizer: OptimizerCallable = lambda params: torch.optim.Adam(params, lr=1e-3),
        lr_scheduler: LRSchedulerCallable | None = None,
        lr_scheduler_interval: Interval | None = None,
        metrics: Sequence[Metric] | None = None,
        metric_directions: dict[str, Direction] | None = None,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.task: Task = self.find_task(spec)(spec)
        self.task.add_metrics(metrics or (), metric_directions or {})
        # kept as attributes: under LightningCLI `self.hparams` would hold their configuration instead
        self._make_optimizer = Maker(optimizer, type(self), "optimizer")
        self._make_lr_scheduler = lr_scheduler and Maker(lr_scheduler, type(self), "lr_scheduler")
        self._interval = lr_scheduler_interval

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Remember what the constructor is told, for `repr`; a copy or a pickle is told nothing."""
        made = super().__new__(cls)
        told = given(cls, args, kwargs)
        spec = told.pop("spec", None)
        words = [f"{name}={short(value)}" for name, value in told.items() if value is not None]
        made.__dict__["_told"] = ", ".join([f"data={spec.name}", *words] if isinstance(spec, Spec) else words)
        return made

    def extra_repr(self) -> str:
        """What the constructor was told, before the parts."""
        return str(self.__dict__.get("_told", ""))

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]  # Lightning's takes a file of hyperparameters
        cls,
        checkpoint_path: str | Path,
        map_location: Any = None,
        strict: bool = True,
        *,
        trust: bool = False,
        **options: Any,
    ) -> Any:
        """The network of a checkpoint, with its weights; what it says of its data is enough to build it.

        Args:
            checkpoint_path: A .ckpt file that a fit has left.
            map_location: Device; by default the CPU.
            strict: Whether the weights have to be exactly those of the network.
            trust: Whether its configuration may name classes that are not installed, such as those of
                files in the working directory: importing them runs them.
            options: Arguments of the constructor in place of the recorded ones, such as another `solver`.

        Raises:
            UsageError: It is no checkpoint of this family, or the weights do not fit.
        """
        model, contents = network(cls, checkpoint_path, options, trust=trust, strict=strict)
        model.on_load_checkpoint(contents)
        return model if map_location is None else model.to(map_location)

    # ------------------------------------------------------------------ what a family supplies

    @abstractmethod
    def step(self, batch: Any, stage: str) -> Outcome:
        """The outcome of one batch; it logs nothing.

        Args:
            batch: A batch as the data module yields it.
            stage: `train`, `val` or `test`; regularisers belong to `train` alone.
        """

    def penalty(self) -> dict[str, Tensor]:
        """Extra terms of the training loss by name, weights included; called once after each training batch.

        Logged as `train/<name>`. None by default; evaluation never sees them.
        """
        return {}

    def respond(self, batch: Any) -> Outcome:
        """What the network says about a batch whose truth may be unknown; the terms are empty.

        Raises:
            UsageError: The task predicts nothing for a single input.
        """
        raise self.task.unanswered()

    @property
    def components(self) -> int | None:
        """How many different draws `draws` has: 1 where evaluation is deterministic, M of an ensemble of M
        equally likely members, None where each call makes as many as it is asked for.
        """
        return 1

    def draws(self, x: Any, count: int, times: Tensor | None = None) -> tuple[Tensor, Sequence[SolveStats]]:
        """Draws of what the network says, each of one path, mask or member: nothing is averaged.

        Args:
            x: Inputs, shape (batch, …), or a batch of series.
            count: How many where any number can be had; otherwise all `components` are returned.
            times: Times to forecast, shape (batch, n), float64.

        Returns:
            Outputs of shape (draws, batch, outputs), such as logits, or values (draws, batch, n, channels);
            and the accounts of the solves. One that made k draws at once stands k times, so that their sum
            is what the draws cost.

        Raises:
            UsageError: The task predicts nothing for a single input.
        """
        raise self.task.unanswered()

    def doubts(self, x: Any) -> dict[str, Tensor]:
        """The family's own measures of its ignorance by name, shape (batch,), larger where it knows less.

        Such as `diffusion` and `vacuity`; none by default.
        """
        return {}

    def trajectory(self, x: Tensor, num_times: int = 33) -> tuple[Tensor, Tensor] | None:
        """Times (n_t,) and hidden states (n_t, batch, …) for figures; None where there is no trajectory."""
        return None

    def pictures(self, stage: str) -> dict[str, npt.NDArray[np.floating]]:
        """Arrays that figures of a distribution are drawn from, by what they show; none by default.

        Args:
            stage: `val` or `test`.
        """
        return {}

    def describe_solver(self) -> tuple[str, str]:
        """Solver and gradient mode in a few words; empty strings where no solver integrates the family."""
        return "", ""

    # ------------------------------------------------------------------ what it is asked

    @classmethod
    def find_task(cls, spec: Spec) -> type[Task]:
        """The task that a data set asks of this family.

        Raises:
            UsageError: Its inputs are of another kind, or it asks what this family does not answer.
        """
        if not isinstance(spec, Spec):
            raise UsageError(
                f"{cls.__name__} takes its sizes from the data set, which publishes none",
                "derive it from integrand.datamodules.DataModule, which asks for a spec",
            )
        if not isinstance(spec, cls.takes):
            kinds = " and ".join(plural(kind.kind) for kind in cls.takes)
            raise UsageError(
                f"{cls.__name__} takes {kinds}, but {spec.name} holds {plural(spec.kind)}",
                f"choose a family that takes {plural(spec.kind)}: integrand families",
            )
        task = find_task(spec, *cls.kinds())
        if task is not None and cls.answers and not isinstance(spec.question, cls.answers):
            raise UsageError(
                f"{cls.__name__} answers {' and '.join(q.kind for q in cls.answers)}, but {spec.name} asks "
                f"for {_asked(spec)}",
                "choose a family that answers it: integrand families",
            )
        if task is None:
            raise UsageError(
                f"{cls.__name__} is a model of {cls._modelled()}, but {spec.name} asks for {_asked(spec)}",
                "choose a family that answers it: integrand families",
            )
        return task

    @classmethod
    def kinds(cls) -> tuple[Models, ...]:
        """What the family is a model of: `models`, and a distribution too where `answers` says so."""
        return (cls.models, "distribution") if {Density, Events} & {*cls.answers} else (cls.models,)

    @classmethod
    def tasks(cls) -> dict[str, list[str]]:
        """The tasks that the family answers, each with the kinds of input on which it does."""
        return answered(cls.kinds(), cls.takes, cls.answers)

    @property
    def monitor(self) -> str:
        """The metric that chooses the best checkpoint."""
        return self.task.monitor

    @property
    def monitor_mode(self) -> str:
        """Whether the best is the smallest (`min`) or the largest (`max`)."""
        return mode_of(self.task.monitor)

    # ------------------------------------------------------------------ Lightning

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        """One training batch; callbacks find its `outcome` beside the loss."""
        outcome = self._recorded(batch, "train")
        return {"loss": outcome.loss, "outcome": outcome}

    def validation_step(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        """One validation batch; see `step`."""
        return {"outcome": self._recorded(batch, "val")}

    def test_step(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        """One test batch; see `step`."""
        return {"outcome": self._recorded(batch, "test")}

    def predict_step(self, batch: Any, batch_idx: int) -> Outcome:
        """What the network says about a batch, as users want it; see `respond`."""
        outcome = self.respond(batch)
        assert outcome.prediction is not None
        outcome.prediction = self.task.answer(outcome.prediction.detach())
        outcome.inputs = None  # Lightning keeps what this returns of every batch
        return outcome

    def _recorded(self, batch: Any, stage: str) -> Outcome:
        outcome = self.step(batch, stage)
        self.record(outcome, stage)
        return outcome

    def record(self, outcome: Outcome, stage: str) -> None:
        """Log loss, scores, metrics and regularisers of one batch.

        The logged loss is the first term alone, so that it compares between families and stages.
        """
        shown, n = stage != "test", outcome.size
        if stage == "train" and self._trainer is not None and self._trainer.world_size > 1:
            # of a row that another process has already, only so that this one has a step to make
            n = n if weight_of_step(self._trainer) else 0
        first, *others = outcome.terms
        self._log_mean(f"{stage}/loss", outcome.terms[first], n, shown)
        for name, value in outcome.scores.items():
            self._log_mean(f"{stage}/{name}", value, n)
        for name, metric in self.task.observe(stage, outcome).items():
            self.log(f"{stage}/{name}", metric, on_step=False, on_epoch=True, batch_size=n, prog_bar=shown)
        for name in others:
            self._log_mean(f"{stage}/{name}", outcome.terms[name], n)

    def _log_mean(self, name: str, value: Tensor, size: int, shown: bool = False) -> None:
        self.log(
            name,
            value.detach(),
            on_step=False,
            on_epoch=True,
            batch_size=size,
            sync_dist=True,
            prog_bar=shown,
        )

    def log(self, name: str, value: Any, *args: Any, **kwargs: Any) -> None:
        """Log a value; see `LightningModule.log`. Means over several processes are exact."""
        super().log(name, value, *args, **kwargs)
        if self._trainer is not None and self._trainer.world_size > 1:
            weigh_exactly(self._trainer)

    def on_before_backward(self, loss: Tensor) -> None:
        """Let every row weigh the same in the gradient, also where some processes have more of them."""
        weight = weight_of_step(self.trainer) if self.trainer.world_size > 1 else 1.0
        if weight != 1.0:
            loss.register_hook(lambda gradient: gradient * weight)  # type: ignore[no-untyped-call]

    def setup(self, stage: str) -> None:
        """Let the task know the data set; Lightning calls it before fit, validate, test and predict."""
        super().setup(stage)
        self.task.attach(data_of(self.trainer), self.vector_field())

    def vector_field(self) -> VectorField | None:
        """The learned dx/dt of what is observed, at time 0 and in the units of a batch; None by default."""
        return None

    def on_fit_start(self) -> None:
        """Give each process random numbers of its own.

        Lightning seeds them all alike, for equal weights; they would then draw the same noise for different
        data. The first keeps the numbers that a single process has.
        """
        if self.global_rank > 0:
            key = f"process {self.global_rank}:{torch.initial_seed()}"
            torch.manual_seed(int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") >> 1)

    def configure_optimizers(self) -> Any:
        """The injected optimiser and schedule.

        Raises:
            UsageError: There is nothing to train.
        """
        trained = [p for p in self.parameters() if p.requires_grad]
        if not trained:
            raise UsageError(
                f"this {type(self).__name__} has no weights to train",
                "give a field with weights: torch.nn layers or torch.nn.Parameter",
            )
        return with_schedule(self._make_optimizer(trained), self._make_lr_scheduler, self._interval)

    @classmethod
    def properties(cls) -> dict[str, Any]:
        """The declared properties by name, for listings."""
        return {
            "uses_solver": cls.uses_solver,
            "stochastic": cls.stochastic,
            "reversible": cls.reversible,
            "needs_grad_at_eval": cls.needs_grad_at_eval,
        }

    @classmethod
    def _modelled(cls) -> str:
        return {"outputs": "outputs given an input", "distribution": "a distribution"}[cls.models]


def _asked(spec: Spec) -> str:
    kind = spec.question.kind
    return f"a {kind}" if kind in ("density", "forecast") else kind
