"""Brownian motion that can be refined: one seed is one path, whatever steps, method or dtype look at it."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Protocol

import torch
from torch import Tensor

from integrand.errors import SpecError

from ..errors import SolverOptionError
from .normals import KeyedNormals, draw_seed

CHUNK = 16
"""Intervals of one level that are drawn together."""
WIDE = 4096
"""Number of intervals of a level from which it is drawn in pairs: few of so many are looked at."""
DEPTH = 26
"""Halvings below which a path is its own conditional mean: 1.5e-8 of a root interval."""


class Brownian(Protocol):
    """A Brownian path of every sample of a batch, as solvers ask for it."""

    def increment(self, a: float, b: float, area: bool) -> tuple[Tensor, Tensor | None]:
        """ΔW = W(b) − W(a) and, if asked for, the space–time Lévy area H of [a, b], each (batch, ...).

        H = ∫(W(s) − W(a)) ds / h − ΔW/2 with h = b − a: normal, of variance h/12, independent of ΔW (Foster,
        Lyons, Oberhauser 2020, An optimal polynomial approximation of Brownian motion).
        """


class StepNormals:
    """A path from standard normals of every step, by the steps' numbers: an object with `normals(n)`.

    Args:
        source: Its `normals(n)` gives z with ΔW = √h z, and ζ with H = √(h/12) ζ or None.
        nodes: Ends of the steps.

    Raises:
        SolverOptionError: The object has neither `increment` nor `normals`.
    """

    def __init__(self, source: Any, nodes: Sequence[float]) -> None:
        if not callable(getattr(source, "normals", None)):
            raise SolverOptionError(
                f"{type(source).__name__} is no Brownian path",
                "pass a BrownianPath, or increment(a, b, area)",
            )
        self._source = source
        self._numbers = {t: n for n, t in enumerate(nodes)}

    def increment(self, a: float, b: float, area: bool) -> tuple[Tensor, Tensor | None]:
        """See `Brownian.increment`."""
        z, zeta = self._source.normals(self._numbers[a])
        return math.sqrt(b - a) * z, None if zeta is None else math.sqrt((b - a) / 12) * zeta


def _rows_of_chunks(roots: int) -> list[int]:
    """How many neighbouring intervals of each level are drawn together."""
    nodes = [roots << level for level in range(DEPTH + 1)]
    return [min(CHUNK, n) if n <= WIDE or n == roots else 2 for n in nodes]


class BrownianPath:
    """A path refined by halving: a virtual Brownian tree that carries increments and areas.

    The root intervals are drawn first, the halves of an interval from its own increment and area. An
    increment over an interval of the tree is as cheap as a drawn one; between other times it is put together
    from the intervals of the tree that fill it, down to 2⁻²⁶ of a root.

    The numbers of a sample depend on the seed, its index, the number of roots and the shape of one sample:
    not on the batch, the dtype (beyond rounding), the device, the order of the questions, or on whether the
    areas are wanted.

    Args:
        seed: Seed of all paths.
        times: Ends of the root intervals, increasing, at least two.
        shape: Shape of ΔW, (batch, ...).
        dtype: Dtype of the increments.
        device: Device of the increments.
        first_sample: Index of the first sample of this batch among all samples of the seed.

    Raises:
        SpecError: The times do not increase.
    """

    def __init__(
        self,
        seed: int,
        times: Sequence[float],
        shape: Sequence[int],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        first_sample: int = 0,
    ) -> None:
        self.times, self.shape = [float(t) for t in times], tuple(shape)
        if len(self.times) < 2 or any(b <= a for a, b in pairwise(self.times)):
            raise SpecError("the times of a Brownian path must increase", "pass at least [t0, t1], t0 < t1")
        self.dtype, self.device = dtype, torch.device(device)
        # refined in float32 or wider: in half precision the halves would not add up to the whole
        self._work = torch.promote_types(dtype, torch.float32)
        self._normals = KeyedNormals(seed, first_sample, shape)
        self._roots = len(self.times) - 1
        self._widths = [b - a for a, b in pairwise(self.times)]
        self._even = max(self._widths) - min(self._widths) <= 1e-9 * max(self._widths)
        self._rows = _rows_of_chunks(self._roots)
        self._chunks: dict[int, _Chunk] = {}
        self._starts = {t: n for n, t in enumerate(self.times[:-1])}

    def increment(self, a: float, b: float, area: bool = True) -> tuple[Tensor, Tensor | None]:
        """See `Brownian.increment`.

        Raises:
            SpecError: [a, b] is empty or not inside the path.
        """
        root = self._starts.get(a)
        if root is not None and self.times[root + 1] == b:
            w, h = self._node(0, root, area)
        else:
            w, h = self._elsewhere(a, b, area)
        if self.dtype is self._work:
            return w, h
        return w.to(self.dtype), None if h is None else h.to(self.dtype)

    def _elsewhere(self, a: float, b: float, area: bool) -> tuple[Tensor, Tensor | None]:
        slack = 1e-9 * (b - a) + 1e-15 * max(abs(a), abs(b))
        if not (self.times[0] - slack <= a < b <= self.times[-1] + slack):
            raise SpecError(
                f"a Brownian path over [{self.times[0]:g}, {self.times[-1]:g}] was asked for [{a:g}, {b:g}]",
                "make it over the whole time span",
            )
        root = min(max(bisect_right(self.times, a + slack) - 1, 0), self._roots - 1)
        node = self._aligned(root, a, b, slack)
        if node is not None:
            return self._node(*node, area)
        w, h = self._joined(root, a, b, slack)
        return w, h if area else None

    def _aligned(self, root: int, a: float, b: float, slack: float) -> tuple[int, int] | None:
        """Level and index of the interval of the tree that [a, b] is, if it is one."""
        width = self._widths[root]
        level = round(math.log2(width / (b - a)))
        if not 0 <= level <= DEPTH:
            return None
        h = width / (1 << level)
        place = round((a - self.times[root]) / h)
        start = self.times[root] + place * h
        if abs(start - a) > slack or abs(start + h - b) > slack:
            return None
        return level, (root << level) + place

    def _node(self, level: int, n: int, area: bool) -> tuple[Tensor, Tensor | None]:
        rows = self._rows[level]
        chunk = self._chunk(level, n // rows, area)
        chunk.lent = True
        return chunk.ws[n % rows], chunk.hs[n % rows] if area else None

    def _chunk(self, level: int, number: int, area: bool) -> _Chunk:
        """The neighbouring intervals of a level with this number, refined from those above if need be."""
        chunk = self._chunks.get(level)
        if chunk is not None and chunk.number == number and (chunk.complete or not area):
            return chunk
        chunk = self._room(level, area)
        chunk.number, chunk.complete = number, area
        if level:
            self._halve(level, chunk, area)
        else:
            self._draw(chunk, area)
        chunk.ws, chunk.hs = chunk.w.unbind(), () if chunk.h is None else chunk.h.unbind()
        return chunk

    def _room(self, level: int, area: bool) -> _Chunk:
        """The chunk of a level to write into: the last one again, unless it was handed out."""
        chunk = self._chunks.get(level)
        if chunk is None or chunk.lent:
            # what was handed out is the solver's, and may be part of a graph
            chunk = self._chunks[level] = _Chunk(self._empty(level))
        if area and chunk.h is None:
            chunk.h = self._empty(level)
        return chunk

    def _empty(self, level: int) -> Tensor:
        # kept over solves: it must not become an inference tensor, which only inference may change
        with torch.inference_mode(False):
            return torch.empty(self._rows[level], *self.shape, dtype=self._work, device=self.device)

    def _draw(self, chunk: _Chunk, area: bool) -> None:
        rows, number = len(chunk.w), chunk.number
        self._fill(chunk.w, 0, number * rows, rows, 1.0, 0, number, 0)
        if area and chunk.h is not None:
            self._fill(chunk.h, 0, number * rows, rows, math.sqrt(1 / 12), 0, number, 1)

    def _halve(self, level: int, chunk: _Chunk, area: bool) -> None:
        """Halves of intervals of length h of the level above, given their W and H.

        W₁ − W₂ = D is normal of mean 3H and variance h/4, and H₁ − H₂ of variance h/12 and independent of it;
        the sums follow from W = W₁ + W₂ and H = (H₁ + H₂)/2 + D/4.
        """
        rows, number = len(chunk.w), chunk.number
        first, half = number * rows // 2, rows // 2
        above = self._rows[level - 1]
        parent = self._chunk(level - 1, first // above, True)
        assert parent.h is not None
        part = slice(first % above, first % above + half)
        w, h = parent.w[part], parent.h[part]
        left, right = chunk.w.view(half, 2, *self.shape)[: len(w)].unbind(1)
        self._fill(left, level - 1, first, half, 1 / 4, level, number, 0)
        left.add_(w, alpha=0.5).add_(h, alpha=1.5)
        torch.sub(w, left, out=right)
        if area and chunk.h is not None:
            h_left, h_right = chunk.h.view(half, 2, *self.shape)[: len(w)].unbind(1)
            self._fill(h_left, level - 1, first, half, math.sqrt(1 / 48), level, number, 1)
            torch.add(h, left, alpha=-0.25, out=h_right)
            h_right.add_(right, alpha=0.25).sub_(h_left)
            torch.add(h_right, h_left, alpha=2, out=h_left)

    def _fill(self, out: Tensor, level: int, first: int, rows: int, factor: float, *place: int) -> None:
        """Normals of standard deviation factor · √h for the intervals of length h from `first` of a level."""
        if self._even:
            length = (self.times[-1] - self.times[0]) / self._roots / (1 << level)
            self._normals.fill(out, rows, factor * math.sqrt(length), *place)
            return
        self._normals.fill(out, rows, factor, *place)
        widths = [self._widths[min((first + i) >> level, self._roots - 1)] for i in range(len(out))]
        scales = torch.tensor([math.sqrt(x / (1 << level)) for x in widths], dtype=self._work)
        out.mul_(scales.to(self.device).view(-1, *(1 for _ in self.shape)))

    def _joined(self, root: int, a: float, b: float, slack: float) -> tuple[Tensor, Tensor]:
        """Increment and area over [a, b], put together from those of the intervals that fill it."""
        pieces = None
        while root < self._roots and self.times[root] < b - slack:
            lo, hi = self.times[root], self.times[root + 1]
            pieces = join(pieces, self._piece(0, root, lo, hi, max(a, lo), min(b, hi), slack))
            root += 1
        assert pieces is not None
        return pieces[1], pieces[2]

    def _piece(
        self, level: int, n: int, lo: float, hi: float, a: float, b: float, slack: float
    ) -> tuple[float, Tensor, Tensor]:
        """Length, increment and area of [a, b] inside the interval n = [lo, hi] of a level."""
        if a - lo <= slack and hi - b <= slack:
            w, h = self._node(level, n, True)
            assert h is not None
            return hi - lo, w, h
        if level == DEPTH:
            w, h = self._node(level, n, True)
            assert h is not None
            return _inside(w, h, hi - lo, (a - lo) / (hi - lo), (b - lo) / (hi - lo))
        middle = (lo + hi) / 2
        halves = []
        if a < middle - slack:
            halves.append(self._piece(level + 1, 2 * n, lo, middle, a, min(b, middle), slack))
        if b > middle + slack:
            halves.append(self._piece(level + 1, 2 * n + 1, middle, hi, max(a, middle), b, slack))
        return halves[0] if len(halves) == 1 else join(*halves)


class _Chunk:
    """Memory for the increments and areas of some neighbouring intervals, (rows, batch, ...) each."""

    def __init__(self, w: Tensor) -> None:
        self.w = w
        self.h: Tensor | None = None
        self.ws: tuple[Tensor, ...] = ()
        self.hs: tuple[Tensor, ...] = ()
        self.number = -1
        self.complete = False
        """Whether the areas are those of this number too."""
        self.lent = False
        """Whether parts of it were handed out."""


Piece = tuple[float, Tensor, Tensor]
"""Length of an interval, increment and area over it."""


def join(left: Piece | None, right: Piece) -> Piece:
    """Increment and area over two neighbouring intervals."""
    if left is None:
        return right
    a, w1, h1 = left
    b, w2, h2 = right
    w = w1 + w2
    integral = a * (h1 + w1 / 2) + b * (w1 + h2 + w2 / 2)
    return a + b, w, integral / (a + b) - w / 2


def _inside(w: Tensor, h: Tensor, length: float, r: float, s: float) -> Piece:
    """The part between the fractions r and s of an interval, by the mean of the path given W and H."""

    def value(x: float) -> Tensor:
        return x * w + 6 * x * (1 - x) * h

    def integral(x: float) -> Tensor:
        return x * x / 2 * w + x * x * (3 - 2 * x) * h

    increment = value(s) - value(r)
    mean = (integral(s) - integral(r)) / (s - r) - value(r)
    return (s - r) * length, increment, mean - increment / 2


def roots(nodes: Sequence[float]) -> list[float]:
    """The coarsest grid that the steps of a solve come from by halving.

    Solves whose steps are halves of each other so have the same roots, and see one path for one seed.

    Args:
        nodes: Ends of the steps, increasing.
    """
    found = list(nodes)
    while len(found) % 2:
        sizes = [b - a for a, b in pairwise(found)]
        pairs = zip(sizes[::2], sizes[1::2], strict=True)
        if any(abs(a - b) > 1e-9 * (a + b) + 1e-14 * abs(found[-1]) for a, b in pairs):
            break
        found = found[::2]
    return found


def seeded_path(
    seed: int | None,
    nodes: Sequence[float],
    shape: Sequence[int],
    y0: Tensor,
    first_sample: int,
    shared: bool = False,
) -> BrownianPath:
    """The path of a solve.

    A given seed is one path for all grids that come from one by halving; this costs half as many numbers
    again. Where none is given no other solve can ask for the path, and it is drawn for these steps.

    Args:
        seed: Seed; None draws one from torch's generator.
        nodes: Ends of the steps, increasing.
        shape: Shape of ΔW.
        y0: A state, for dtype and device.
        first_sample: Index of the first sample.
        shared: Whether the solve refines the path anyway.
    """
    ends = nodes if seed is None and not shared else roots(nodes)
    return BrownianPath(draw_seed() if seed is None else seed, ends, shape, y0.dtype, y0.device, first_sample)
