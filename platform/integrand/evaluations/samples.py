"""Which sampler gives the best samples for a number of evaluations?"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy.typing as npt
import torch
from torch import Tensor

from integrand.diffusion import BudgetError, IncompatibleError
from integrand.modules.generative.base import GenerativeModule
from integrand.modules.generative.evaluation import DEVIATION, FLOOR, SPLITS, mean_and_deviation
from integrand.modules.generative.image_evaluation import ImageEvaluation

from ..errors import IntegrandError, UsageError
from ..figures.budgets import budget_figure
from ..figures.samples import side_by_side
from ..solvers.options import require_counts
from .base import Evaluation, Finding, Summary, rows_of
from .named import presets
from .sampling import Wishes, is_diffusion, labels, learns_steps, named_sampler, picture, pixels, plane, way

USUAL = ("ddpm", "ddim", "heun", "dpm_solver_pp_2m", "unipc", "deis_tab", "euler_maruyama")
USUAL_OF_FLOWS = ("Euler", "Midpoint", "Heun", "RK4", "Dopri5")


class Samples(Evaluation):
    """Scores of samples, by sampler and number of network evaluations.

    Args:
        samplers: Names, see `Named`; one of them may be given by itself, `all` are all presets that fit; by
            default the usual ones.
        nfe: Network evaluations per sample at most.
        n: Samples to score; by default what the model's own evaluation says.
        seed: Seed of the samples.
        seeds: Sets of samples, seed to seed + seeds − 1: the scores are their means, one value for each
            model, whose scatter over models holds that of sampling, and `…_deviation` that of the sets alone.
        splits: Ways to divide the data in two halves that are compared: `…_floor` is the mean, and
            `…_floor_deviation` the deviation.
        guidance: Weight of classifier-free guidance.
        label: Class number or name, or `none`; by default every class in turn.
        grid: Time grid, see `Named`.
        clip: Clamp the predicted data to this limit at every step.
        batch_size: Samples at once.

    Raises:
        UsageError: Too few samples to score, or no seeds or splits.
    """

    name: ClassVar[str] = "samples"
    title: ClassVar[str] = "scores of samples, by sampler and number of evaluations"
    quantities: ClassVar[tuple[str, ...]] = (
        *("sliced_w2", "mmd2", "w2", "FID-*", "FD-*", "KD-*"),
        *("precision-*", "recall-*", "density-*", "coverage-*", "*_floor", "*_deviation", "failed"),
    )

    def __init__(
        self,
        samplers: list[str] | str | None = None,
        nfe: list[int] | int = [5, 10, 20, 50],  # noqa: B006  # never changed; the command line shows it
        n: int | None = None,
        seed: int = 0,
        guidance: float | None = None,
        label: str | None = None,
        grid: str | None = None,
        clip: float | None = None,
        batch_size: int | None = None,
        seeds: int = 1,
        splits: int = SPLITS,
    ) -> None:
        require_counts(seeds=seeds, splits=splits)
        self.seeds, self.splits = seeds, splits
        if n is not None and n < 16:
            raise UsageError(f"{n} samples are too few to score", "ask for 16 or more")
        self.samplers = [samplers] if isinstance(samplers, str) else samplers
        self.nfe, self.n = sorted({nfe} if isinstance(nfe, int) else set(nfe)), n
        self.wishes = Wishes(seed, guidance, label, grid, clip, batch_size)
        self.left_out: list[str] = []
        self.floor: dict[str, float] = {}
        self._shown: dict[tuple[str, int], npt.NDArray[Any]] = {}
        self._behind: npt.NDArray[Any] | None = None

    @classmethod
    def fits(cls, model: Any, data: Any) -> str:
        """It has to be generative, and its samples to be scored by something."""
        if not isinstance(model, GenerativeModule):
            return "it generates nothing"
        if model.evaluation is None and len(model.shape) != 3:
            return "nothing scores its samples: set model.evaluation"
        return ""

    @property
    def headline(self) -> str:
        """The first score."""
        return next(iter(self.floor)).removesuffix(FLOOR)

    def measure(self, model: Any, data: Any) -> Iterator[Finding]:
        """Every sampler at every budget; what a budget is too small for is left out and said."""
        plans = self._plans(model)
        y = labels(model, self.wishes.label, 1)
        scorer, reference = self._reference(model, data)
        self._behind = plane(data)
        for (sampler, nfe), how in plans.items():
            every = None if y is None else y.expand(len(reference))
            yield self._cell(model, data, scorer, reference, sampler, nfe, how, every)

    def summary(self, findings: Sequence[Finding]) -> Summary:
        """All scores as a table, quality against evaluations, and the same samples by every sampler."""
        lines: dict[str, list[tuple[float, float]]] = {}
        for finding in findings:
            point = (finding.cost["sample_nfe"], finding.quantities.get(self.headline, math.nan))
            lines.setdefault(finding.settings["sampler"], []).append(point)
        n = findings[0].settings["n"]
        floor = self.floor[f"{self.headline}{FLOOR}"]
        pictures = [budget_figure(lines, floor, self.nfe, f"{self.headline} (N = {n:,})")]
        if self._shown:
            pictures.append(side_by_side(self._shown, list(lines), self.nfe, self._behind))
        spread = self.floor.get(f"{self.headline}{FLOOR}{DEVIATION}")
        within = "" if spread is None else f" ± {spread:.2g} over {self.splits} splits"
        notes = [f"{self.headline} of real against real: {floor:.4g}{within}, N = {n}"]
        notes += [f"left out: {text}" for text in self.left_out]
        return Summary({self.name: [rows_of(finding) for finding in findings]}, pictures, notes)

    def _wanted(self, model: Any) -> list[str]:
        """Names of the samplers asked for, the usual ones of the model where none are."""
        everything = self.samplers == ["all"]
        if self.samplers and not everything:
            return self.samplers
        if learns_steps(model):
            return ["LearnedSteps"]
        if not is_diffusion(model):
            return list(USUAL_OF_FLOWS)
        return list(presets("sampler") if everything else USUAL)

    def _plans(self, model: Any) -> dict[tuple[str, int], Any]:
        """What can be sampled."""
        given = self.samplers is not None and self.samplers != ["all"]
        found: dict[tuple[str, int], Any] = {}
        for name in dict.fromkeys(self._wanted(model)):
            sampler = named_sampler(model, name)
            for nfe in self.nfe:
                try:
                    found[sampler.label, nfe] = way(model, self.wishes, sampler, nfe)
                except BudgetError as error:
                    self.left_out.append(error.message)
                except IncompatibleError as error:
                    if given:
                        raise
                    self.left_out.append(error.message)
                    break
        if not found:
            budgets = ", ".join(map(str, self.nfe))
            raise BudgetError(
                f"nothing to sample at NFE {budgets}: {self.left_out[0]}", "allow more evaluations"
            )
        return found

    def _reference(self, model: Any, data: Any) -> tuple[Any, Tensor]:
        """What scores samples, and the data that they are compared with; also scores the floor."""
        scorer = model.evaluation or ImageEvaluation()
        if self.n is not None:
            scorer.num_samples = self.n
        data.prepare_data()
        data.setup("test")
        batches = [b[0] if isinstance(b, list | tuple) else b for b in data.test_dataloader()]
        scorer.prepare(data)
        reference, other = scorer.split(torch.cat(batches).to(model.device))
        self.floor = scorer.floor(reference, other, thorough=True, splits=self.splits)
        return scorer, reference

    def _cell(
        self,
        model: Any,
        data: Any,
        scorer: Any,
        reference: Tensor,
        sampler: str,
        nfe: int,
        how: Any,
        y: Tensor | None,
    ) -> Finding:
        n, wishes = len(reference), self.wishes
        grid = getattr(how, "grid", None)
        settings = {"sampler": sampler, "nfe": nfe, "n": n, "seed": wishes.seed, "described": how.describe()}
        if self.seeds > 1:
            settings["seeds"] = self.seeds
        settings |= {"guidance": getattr(how, "guidance", None), "grid": grid and grid.describe()}
        found = Finding(f"{sampler} NFE {nfe}", {k: v for k, v in settings.items() if v is not None})
        found.quantities = dict(self.floor)
        began = time.perf_counter()
        try:
            sets = [
                model.sample(n, seed, batch_size=wishes.batch_size, sampler=how, y=y, keep_failed=True)
                for seed in range(wishes.seed, wishes.seed + self.seeds)
            ]
        except IntegrandError as error:
            # a solve that gave up: the other cells are still worth having
            found.error, found.quantities["failed"] = error.message, float(n)
            found.cost = {"sample_nfe": float(nfe), "evaluation_seconds": time.perf_counter() - began}
            return found
        made, failed = sets[0], sum(int(each.failed.sum()) for each in sets)
        found.cost = {
            "sample_nfe": float(max(each.nfe for each in sets)),
            "evaluation_seconds": time.perf_counter() - began,
        }
        found.quantities["failed"] = float(failed)
        if failed:
            # a score of fewer samples than N would look better or worse for that alone
            found.error = f"{failed} of {n * self.seeds} samples are not finite"
        else:
            means, deviations = mean_and_deviation([scorer.compare(s.x, reference, True) for s in sets])
            found.quantities |= means | {f"{name}{DEVIATION}": v for name, v in deviations.items()}
        found.pictures = (picture(made.x, data),)
        image = made.x.ndim == 4
        small = pixels(made.x[:9], data) if image else made.x[:1000, :2].float().cpu().numpy()
        self._shown[sampler, nfe] = small
        return found
