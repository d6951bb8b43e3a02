"""How much does a classifier lose where images are noisy, blurred, veiled or badly stored?"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from integrand.modules.family import FamilyModule

from ..errors import UsageError
from ..figures.severities import severity_figure
from ..suggest import did_you_mean
from ..tasks.classification import Classification
from .base import Evaluation, Finding, Row, Summary
from .corrupted import KINDS, SEVERITIES, corrupt
from .drawn import drawn, number_of_draws, seeded
from .other_images import Images, lacks_images
from .passes import batches


class Corruptions(Evaluation):
    """Error on test images under common corruptions, in the style of CIFAR-10-C.

    Args:
        kinds: Kinds of corruption; by default all fifteen.
        passes: Draws of a network whose answers are random; by default 20.
        n: Test images at most; by default all.
        seed: Seed of corruptions and draws.

    Raises:
        UsageError: There is no such kind, or nothing to measure.
    """

    name: ClassVar[str] = "corruption"
    title: ClassVar[str] = "error under fifteen common corruptions at five severities"
    quantities: ClassVar[tuple[str, ...]] = ("clean_error", "corruption_error", "corruption_error_*")

    def __init__(
        self,
        kinds: list[str] | str | None = None,
        passes: int | None = None,
        n: int | None = None,
        seed: int = 0,
    ) -> None:
        chosen = [kinds] if isinstance(kinds, str) else kinds or list(KINDS)
        if unknown := next((kind for kind in chosen if kind not in KINDS), None):
            raise UsageError(
                f"there is no corruption {unknown!r}{did_you_mean(unknown, KINDS)}",
                f"choose from {', '.join(KINDS)}",
            )
        for what, given in (("passes", passes), ("n", n)):
            if given is not None and given < 1:
                raise UsageError(f"{what}={given} measures nothing", "give 1 or more")
        self.kinds, self.passes, self.n, self.seed = chosen, passes, n, seed
        self._errors: dict[str, list[float]] = {}

    @classmethod
    def fits(cls, model: Any, data: Any) -> str:
        """It has to classify images that can be told in grey levels."""
        if not isinstance(model, FamilyModule) or not isinstance(model.task, Classification):
            return "it is no family that classifies"
        if lacking := lacks_images(data):
            return lacking
        return "" if min(data.spec.shape[1:]) >= 8 else "its images are smaller than 8×8"

    @property
    def headline(self) -> str:
        """Mean error over kinds and severities."""
        return "corruption_error"

    def measure(self, model: FamilyModule, data: Images) -> Iterator[Finding]:
        """One finding of all kinds and severities together."""
        passes = number_of_draws(model, self.passes)
        began = time.perf_counter()
        clean = _Errors(model, passes)
        all_of = {(kind, s): _Errors(model, passes) for kind in self.kinds for s in SEVERITIES}
        seen = 0
        with seeded(self.seed):
            for x, y in batches(model, data):
                part = slice(0, len(x) if self.n is None else max(0, min(len(x), self.n - seen)))
                if not len(x[part]):
                    break
                self._batch(x[part], y[part], seen, data, clean, all_of)
                seen += len(x[part])
        self._errors = {k: [all_of[k, s].rate for s in SEVERITIES] for k in self.kinds}
        found = {"clean_error": clean.rate, "corruption_error": _mean(list(self._errors.values()))}
        found |= {f"corruption_error_{kind}": _mean([line]) for kind, line in self._errors.items()}
        for severity, column in zip(SEVERITIES, zip(*self._errors.values(), strict=True), strict=True):
            found[f"corruption_error_severity_{severity}"] = _mean([column])
        kinds = "all" if self.kinds == list(KINDS) else ",".join(self.kinds)
        cost = {"sample_nfe": clean.nfe, "evaluation_seconds": time.perf_counter() - began}
        picture = severity_figure(self._errors, clean.rate)
        yield Finding(f"corruptions {kinds}", {"kinds": kinds, "passes": passes}, found, cost, [picture])

    def _batch(
        self,
        x: Tensor,
        y: Tensor,
        first: int,
        data: Images,
        clean: _Errors,
        all_of: dict[tuple[str, int], _Errors],
    ) -> None:
        clean.see(x, y)
        pixels = data.denormalise(x)
        for (kind, severity), errors in all_of.items():
            errors.see(data.scaled(corrupt(pixels, kind, severity, self.seed, first)), y)

    def summary(self, findings: Sequence[Finding]) -> Summary:
        """The error of every kind and severity."""
        rows: list[Row] = [
            {"kind": kind, **{f"severity {s}": e for s, e in zip(SEVERITIES, line, strict=True)}}
            for kind, line in self._errors.items()
        ]
        pictures = [picture for finding in findings for picture in finding.pictures]
        note = "corruptions in the style of CIFAR-10-C: not comparable with published errors"
        return Summary({self.name: rows}, pictures, [note])


class _Errors:
    """Counts wrong predictions, each of the mean of the draws."""

    def __init__(self, model: FamilyModule, passes: int) -> None:
        self.model, self.passes = model, passes
        self.wrong, self.seen, self.nfe = 0, 0, 0.0

    def see(self, x: Tensor, y: Tensor) -> None:
        draws, self.nfe = drawn(self.model, x, self.passes)
        self.wrong += int((self.model.task.pool(draws).argmax(1) != y).sum())
        self.seen += len(x)

    @property
    def rate(self) -> float:
        return self.wrong / self.seen


def _mean(lines: Sequence[Sequence[float]]) -> float:
    return float(torch.tensor(lines, dtype=torch.float64).mean())
