"""What every generative family shares: averaged weights, reproducible samples, scores and their account."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, cast

import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn

from integrand.datamodules.base import data_of
from integrand.errors import SpecError, UsageError
from integrand.outcome import Outcome
from integrand.solvers import SolveStats
from integrand.spec import ImageSpec, Spec, VectorSpec

from ..bench.net import check_inputs
from ..family import FamilyModule
from ..schedules import Interval
from .averaging import averaged
from .backbones import Backbone, TimeNet, default_backbone
from .compiling import compile_network
from .encoders.base import Encoder, EncoderDigest
from .evaluation import Evaluation, PointEvaluation
from .gathering import interleaved, made_together
from .samples import Samples
from .seeded import noise_rows, seed_of


class GenerativeModule(FamilyModule):
    """A model of a distribution that can be sampled; subclasses say how it is trained and sampled.

    It takes vectors and images; labels are left out unless the family is conditional. Evaluation and sampling
    use the averaged weights.

    Args:
        spec: What the data set publishes; the command line fills it in.
        backbone: The network; an MLP for points and convolutions for images where omitted.
        encoder: Whose latents the network models in place of the data; it is not trained. Samples are
            decoded, so that they are evaluated as data.
        ema: Decay of the average of the weights, null for none.
        evaluation: How samples are scored in validation and test; by default distances for points, nothing
            for images.
        sample_batch: Samples that are generated at once.
        compile: Whether network and average go through `torch.compile`; the first batches take longer.
        optimizer: Makes the optimiser from the parameters; default Adam with lr 1e-3.
        lr_scheduler: Makes the learning-rate schedule from the optimiser.
        lr_scheduler_interval: Whether it takes a step each `epoch` or each `step`; by default what it is made
            for: each step with OneCycleLR and CyclicLR, else each epoch.
    """

    group = "generative"
    models = "distribution"
    conditional: bool = False
    """Whether the network is told the class."""
    teacher: str | None = None
    """Checkpoint of the run that a family with a teacher learns from."""
    likelihood_samples: int | None = 0
    """Test points whose likelihood the test computes after its batches, None for all."""
    own_sampler: ClassVar[type[Any] | None] = None
    """What samples this family alone, by a number of evaluations: `num_steps` of it."""
    takes: ClassVar[tuple[type[Spec], ...]] = (ImageSpec, VectorSpec)
    stochastic = True

    def __init__(
        self,
        spec: Spec,
        backbone: Backbone | None = None,
        encoder: Encoder | None = None,
        ema: float | None = 0.999,
        evaluation: Evaluation | None = None,
        sample_batch: int = 1000,
        compile: bool = False,
        optimizer: OptimizerCallable = lambda params: torch.optim.Adam(params, lr=1e-3),
        lr_scheduler: LRSchedulerCallable | None = None,
        lr_scheduler_interval: Interval | None = None,
    ) -> None:
        super().__init__(spec, optimizer, lr_scheduler, lr_scheduler_interval)
        if sample_batch < 1:
            raise UsageError(f"sample_batch must be at least 1, got {sample_batch}", "set model.sample_batch")
        self.encoder = encoder
        self.modelled = spec if encoder is None else encoder.latents(spec)
        self.shape = self.modelled.input_shape
        if encoder is not None:
            self.encoder_digest = EncoderDigest(encoder.digest)
        self.net: TimeNet = (backbone or default_backbone(self.shape)).build(
            self.shape, self.num_labels(spec)
        )
        self.average = averaged(self.net, ema) if ema is not None else None
        self.compiles = compile
        if compile:
            for net in {self.net, self.trained}:
                compile_network(net)
        if evaluation is None and len(self.shape) == 1:
            evaluation = PointEvaluation()
        self.evaluation = evaluation
        self.sample_batch = sample_batch
        self._seen: list[Tensor] = []
        self._batches = 0

    # ------------------------------------------------------------------ what a family supplies

    @abstractmethod
    def objective(self, x: Tensor, y: Tensor | None, stage: str) -> Outcome:
        """The outcome of one batch: its terms, scores and solves.

        In evaluation the global generator is seeded before, so that every epoch draws the same.

        Args:
            x: Batch of data, or of its latents where there is an encoder, shape (batch, …).
            y: Labels, None where the data has none.
            stage: `train`, `val` or `test`.
        """

    @abstractmethod
    def generate(
        self, noise: Tensor, rows: range, seed: int, sampler: Any = None, y: Tensor | None = None
    ) -> tuple[Tensor, SolveStats]:
        """Samples from noise by the weights that evaluation uses, without gradients.

        Args:
            noise: Standard normal, shape (batch, …).
            rows: Indices of these samples in the whole set; what else a sampler draws must follow from
                `seed` and these alone (`SampleNoise`).
            seed: Seed of the whole set.
            sampler: What to sample with in place of the family's own.
            y: Class of each sample, shape (batch,), where the family is conditional.

        Returns:
            Samples of the shape of `noise`, and the account of this batch.
        """

    def encoded(self, x: Tensor) -> Tensor:
        """What the network models of data: its latents, the data itself without an encoder."""
        return x if self.encoder is None else self.encoder.encode(x)

    def num_labels(self, spec: Spec) -> int:
        """Number of classes that the network is conditioned on; 0 unless the family is conditional."""
        return 0

    def true_log_density(self, x: Tensor) -> Tensor | None:
        """Log p of data in nats, shape (n,), where the data set knows its density."""
        data = data_of(self.trainer)
        return None if data is None else data.log_density(x)

    def entropy_scores(self, data: Tensor) -> dict[str, float]:
        """`nll_floor`, the mean −log p of the true density on some data, where the data set knows it."""
        exact = self.true_log_density(data)
        return {} if exact is None else {"nll_floor": float(-exact.mean())}

    def extra_scores(self, data: Tensor, samples: Tensor, stage: str) -> dict[str, float]:
        """Further scores at the end of a validation or test, logged as `<stage>/<name>`.

        Args:
            data: Every data point of the split, not encoded.
            samples: The samples that were scored.
            stage: `val` or `test`.
        """
        return {}

    # ------------------------------------------------------------------ training and evaluation

    @property
    def trained(self) -> TimeNet:
        """The network that evaluation and sampling use: the averaged one where there is one."""
        return self.net if self.average is None else cast(TimeNet, self.average.module)

    @property
    def active(self) -> TimeNet:
        """The network of the present mode: the one that learns in training, else the one for evaluation."""
        return self.net if self.training else self.trained

    @property
    def sample_dtype(self) -> torch.dtype:
        """Dtype of the weights, in which samples are made."""
        return next((p.dtype for p in self.trained.parameters()), torch.float32)

    def shards(self) -> list[nn.Module]:
        """The network and its average, each with its blocks by themselves.

        Raises:
            UsageError: There is a teacher, which would be a second network in one piece, or it is compiled.
        """
        if self.compiles:
            raise self.unshardable("a compiled network does not stop to gather its parts")
        if self.teacher is not None:
            raise self.unshardable("a teacher's network is needed in one piece")
        nets = [self.net] if self.average is None else [self.net, cast(TimeNet, self.average.module)]
        return [part for net in nets for part in (*net.blocks_once(), net)]

    def begin_at(self, weights: Mapping[str, Tensor]) -> None:
        """Take the weights of the teacher's network, for the average too.

        Raises:
            UsageError: Its network has other shapes.
        """
        try:
            self.net.load_state_dict(weights)
        except RuntimeError as error:
            raise UsageError(
                f"the network of {self.teacher} has other shapes than this one",
                "give both the same model.backbone and data set",
            ) from error
        if self.average is not None:
            self.average.module.load_state_dict(weights)

    def setup(self, stage: str) -> None:
        """Refuse an evaluation that cannot be made before anything is trained."""
        super().setup(stage)
        if self.evaluation is not None:
            self.evaluation.check()

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Let the average follow after each step."""
        super().optimizer_step(*args, **kwargs)
        if self.average is not None:
            self.average.update_parameters(self.net)

    def step(self, batch: Any, stage: str) -> Outcome:
        """The objective of a batch; see `FamilyModule.step`."""
        x, y = self.inputs(batch)
        if stage == "train":
            # also where gradients are off: an objective may differentiate
            with torch.enable_grad():
                outcome = self.objective(self.encoded(x), y, stage)
        else:
            with self._fixed_draws(stage):
                outcome = self.objective(self.encoded(x), y, stage)
        outcome.inputs = x.detach()
        return outcome

    def record(self, outcome: Outcome, stage: str) -> None:
        """Log the outcome, and in evaluation keep its data to compare samples with."""
        super().record(outcome, stage)
        if stage == "train":
            return
        self._batches += 1
        if isinstance(outcome.inputs, Tensor) and self._wants_more(stage):
            self._seen.append(outcome.inputs)

    def _wants_more(self, stage: str) -> bool:
        """Whether more data is kept: all for an evaluation, else a sheet and what a likelihood takes."""
        number = self.likelihood_samples if stage == "test" else 0
        everything = self.evaluation is not None or number is None
        return everything or sum(map(len, self._seen)) < max(64, number or 0)

    def inputs(self, batch: Any) -> tuple[Tensor, Tensor | None]:
        """Data and labels of a batch.

        Raises:
            SpecError: The shape contradicts the spec.
        """
        x, y = (batch[0], batch[1]) if isinstance(batch, list | tuple) else (batch, None)
        check_inputs(x, self.spec)
        return x, y

    def on_validation_epoch_start(self) -> None:
        """Begin to collect data."""
        self._begin()

    def on_test_epoch_start(self) -> None:
        """Begin to collect data."""
        self._begin()

    def on_validation_epoch_end(self) -> None:
        """Score samples."""
        if not self.trainer.sanity_checking:
            self._score("val")

    def on_test_epoch_end(self) -> None:
        """Score samples."""
        self._score("test")

    def _begin(self) -> None:
        self._seen, self._batches = [], 0

    @contextmanager
    def _fixed_draws(self, stage: str) -> Iterator[None]:
        """Random numbers that depend on the stage and the batch's place alone."""
        devices = [self.device] if self.device.type == "cuda" else []
        rank = self.trainer.global_rank if self._trainer is not None else 0
        with torch.random.fork_rng(devices):
            torch.manual_seed(seed_of(stage, self._batches, rank))
            yield

    def _score(self, stage: str) -> None:
        if not self._seen:
            return
        data = self._gathered(torch.cat(self._seen))
        scores: dict[str, float] = {}
        samples = data[:0]
        if self.evaluation is not None and (stage == "test" or self.evaluation.in_validation):
            self.evaluation.prepare(data_of(self.trainer))
            reference, other = self.evaluation.split(data)
            made = self._samples(len(reference), self.evaluation.seed)
            samples, thorough = made.x, stage == "test"
            scores = self.evaluation.compare(samples, reference, thorough)
            # of each validation one division is enough
            scores |= self.evaluation.floor(reference, other, thorough, None if thorough else 1)
            scores |= {"num_samples": float(len(reference)), "sample_nfe": float(made.nfe)}
        scores |= self.extra_scores(data, samples, stage)
        for name, value in scores.items():
            # every process has computed the same
            self.log(f"{stage}/{name}", value, rank_zero_only=True)

    def _samples(self, n: int, seed: int) -> Samples:
        """The first n samples of a set, the work shared by all processes."""
        if self.trainer.world_size == 1:
            return self.sample(n, seed)
        return made_together(n, lambda start, number: self.sample(number, seed, start))

    def _gathered(self, x: Tensor) -> Tensor:
        """The rows of every process in the order of the data set, which was dealt out row by row."""
        return x if self.trainer.world_size == 1 else interleaved(x)

    # ------------------------------------------------------------------ sampling

    @torch.no_grad()
    def sample(
        self,
        n: int,
        seed: int = 0,
        start: int = 0,
        batch_size: int | None = None,
        sampler: Any = None,
        y: Tensor | None = None,
        keep_failed: bool = False,
    ) -> Samples:
        """Samples start … start + n − 1 of the set that `seed` names.

        A sample follows from seed and index: the batch size, n and the number of processes change it by
        round-off alone, as long as the sampler keeps a step size per sample or takes fixed steps.

        Args:
            n: How many.
            seed: Seed of the set.
            start: Index of the first.
            batch_size: How many at once; by default `sample_batch`.
            sampler: What to sample with in place of the family's own.
            y: Class of each of the n samples, where the family is conditional.
            keep_failed: Return samples that are not finite too; see `Samples.failed`.

        Raises:
            SpecError: A sample is not finite, unless `keep_failed`.
        """
        size = batch_size or self.sample_batch
        parts: list[Tensor] = []
        stats: list[SolveStats] = []
        mode = self.trained.training
        self.trained.eval()
        try:
            for first in range(start, start + n, size):
                rows = range(first, min(first + size, start + n))
                noise = noise_rows(seed, rows.start, rows.stop, self.shape).to(self.device, self.sample_dtype)
                labels = None if y is None else y[rows.start - start : rows.stop - start].to(self.device)
                x, account = self.generate(noise, rows, seed, sampler, labels)
                parts.append(x if self.encoder is None else self.encoder.decode(x))
                stats.append(account)
        finally:
            self.trained.train(mode)
        none = torch.empty(0, *self.spec.input_shape, device=self.device, dtype=self.sample_dtype)
        x = torch.cat(parts) if parts else none
        samples = Samples(x, stats)
        bad = int(samples.failed.sum())
        if bad and not keep_failed:
            raise SpecError(
                f"{bad} of {n} samples are not finite",
                "take a finer sampler, or a checkpoint of an earlier epoch",
            )
        return samples

    def pictures(self, stage: str) -> dict[str, npt.NDArray[np.floating]]:
        """Arrays that the run's figures are drawn from.

        Args:
            stage: `val` or `test`.

        Returns:
            `samples` and `data`, shape (n, …), as far as there are any; subclasses add more.
        """
        if not self._seen:
            return {}
        data = torch.cat(self._seen)[:2000]
        samples = self.sample(len(data) if len(self.shape) == 1 else 64, seed=0).x
        return {"data": data.float().cpu().numpy(), "samples": samples.float().cpu().numpy()}
