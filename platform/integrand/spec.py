"""What a data set tells a model before either has seen a batch: what an input is, and what is asked of it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar

from .errors import SpecError


@dataclass(frozen=True)
class Question:
    """What is asked about an input; subclasses are the kinds of question."""

    kind: ClassVar[str] = ""
    """Its tag in records."""

    @property
    def size(self) -> int:
        """Numbers that an answer consists of; 0 where no answer is asked of a single input."""
        return 0


@dataclass(frozen=True)
class Classes(Question):
    """Which of several classes is it?

    Args:
        number: Number of classes, 2 or more.
        names: Name of each class in label order; empty, or `number` long.

    Raises:
        SpecError: There are fewer than two classes, or another number of names.
    """

    kind: ClassVar[str] = "classes"

    number: int
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.number < 2:
            raise SpecError(f"{self.number} classes leave nothing to tell apart", "give two or more")
        if self.names and len(self.names) != self.number:
            raise SpecError(
                f"{len(self.names)} class names for {self.number} classes", "name every class, or none"
            )

    @property
    def size(self) -> int:
        """One logit for each class."""
        return self.number


@dataclass(frozen=True)
class Targets(Question):
    """Which numbers belong to it?

    Args:
        names: Name of each target, one or more.
        scales: Units of the raw target in one unit of what a batch holds, for each target; all 1 where empty.
        shifts: Raw target where that of a batch is 0; all 0 where empty.

    Raises:
        SpecError: There is no target, or another number of scales or shifts.
    """

    kind: ClassVar[str] = "targets"

    names: tuple[str, ...]
    scales: tuple[float, ...] = ()
    shifts: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.names:
            raise SpecError("a regression without a target", "name one target or more")
        for what, values in (("scales", self.scales), ("shifts", self.shifts)):
            if values and len(values) != len(self.names):
                raise SpecError(f"{len(values)} {what} for {len(self.names)} targets", "give one for each")

    @property
    def size(self) -> int:
        """One number for each target."""
        return len(self.names)


@dataclass(frozen=True)
class Forecast(Question):
    """Which values does a series take at other times than those given?

    Args:
        context: Observations that are given, at most; 1 where the state is observed whole and alone.
        horizon: Times that are asked for, at most.
        within: Whether the times asked for lie among those given (interpolation) instead of behind them.
        lyapunov: Largest Lyapunov exponent per unit of time, 0 where unknown: the scale on which forecasts of
            a chaotic system lose their worth.

    Raises:
        SpecError: A number of observations is below 1, or the exponent negative.
    """

    kind: ClassVar[str] = "forecast"

    context: int = 1
    horizon: int = 1
    within: bool = False
    lyapunov: float = 0.0

    def __post_init__(self) -> None:
        if self.context < 1 or self.horizon < 1:
            raise SpecError(
                f"a forecast of {self.horizon} observations from {self.context}", "give one or more of each"
            )
        if self.lyapunov < 0:
            raise SpecError(f"a Lyapunov exponent of {self.lyapunov}", "give 0 where it is not positive")


@dataclass(frozen=True)
class Density(Question):
    """How are inputs distributed?"""

    kind: ClassVar[str] = "density"


@dataclass(frozen=True)
class Events(Question):
    """When does an event of which kind come?

    Each channel of a series is a kind, which an event observes with the value 1; the first and the last time
    say from when and until when events were looked for.
    """

    kind: ClassVar[str] = "events"


@dataclass(frozen=True)
class Spec(ABC):
    """The numbers that a model takes from its data, so that no configuration repeats them.

    Subclasses are the kinds of input.

    Args:
        name: Name of the data set, as `integrand data list` prints it.
        question: What is asked of an input.

    Raises:
        SpecError: The question is none that there is, or a shape is empty.
    """

    kind: ClassVar[str] = ""
    """Its tag in records."""

    name: str
    question: Question

    def __post_init__(self) -> None:
        if type(self.question) not in _QUESTIONS.values():
            raise SpecError(
                f"{self.name} asks {self.question!r}, which is no question",
                f"ask one of {', '.join(c.__name__ for c in _QUESTIONS.values())}",
            )
        if not self.input_shape or min(self.input_shape) < 1:
            raise SpecError(f"inputs of shape {self.input_shape} hold nothing", "give positive sizes")

    @property
    @abstractmethod
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input without the batch dimension."""

    @property
    def input_size(self) -> int:
        """Numbers in one input."""
        return math.prod(self.input_shape)

    @property
    def num_classes(self) -> int:
        """Number of classes, 0 where none are asked for."""
        return self.question.number if isinstance(self.question, Classes) else 0

    @property
    def class_names(self) -> tuple[str, ...]:
        """Name of each class in label order, or none."""
        return self.question.names if isinstance(self.question, Classes) else ()

    def to_dict(self) -> dict[str, Any]:
        """The spec as plain, JSON-ready values, tagged with the kinds of input and question."""
        return {
            "kind": self.kind,
            **asdict(self),
            "question": {"kind": self.question.kind, **asdict(self.question)},
        }

    @staticmethod
    def from_dict(values: dict[str, Any]) -> Spec:
        """The inverse of `to_dict`; lists become tuples again.

        Raises:
            SpecError: A kind or a field is unknown.
        """
        question = values.get("question")
        if not isinstance(question, dict):
            raise SpecError("a spec without a question", "give one as Spec.to_dict writes it")
        asked = _made(_QUESTIONS, "question", question)
        spec = _made(_INPUTS, "input", {**values, "question": asked})
        assert isinstance(spec, Spec)
        return spec


@dataclass(frozen=True)
class ImageSpec(Spec):
    """Inputs are images.

    Args:
        name: Name of the data set.
        question: What is asked of an image.
        shape: (channels, height, width).
        bin_widths: Distance of neighbouring grey levels of each channel in the units of the input; empty for
            continuous data. Likelihoods of images need it.
    """

    kind: ClassVar[str] = "image"

    shape: tuple[int, int, int]
    bin_widths: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.shape) != 3:
            raise SpecError(f"images of shape {self.shape}", "give (channels, height, width)")

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(channels, height, width)."""
        return self.shape


@dataclass(frozen=True)
class VectorSpec(Spec):
    """Inputs are vectors: points, or the rows of a table.

    Args:
        name: Name of the data set.
        question: What is asked of a vector.
        size: Length of a vector.
    """

    kind: ClassVar[str] = "vector"

    size: int

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(size,)."""
        return (self.size,)


@dataclass(frozen=True)
class SeriesSpec(Spec):
    """Inputs are series of observations; a batch of them is an `integrand.series.Series`.

    Args:
        name: Name of the data set.
        question: What is asked of a series.
        channels: Values of one observation.
        length: Observations of the longest series that is given.
        irregular: Whether gaps differ, within a series or between series.
        missing: Whether observations may lack some of their channels.
        autonomous: Whether the same law holds at all times, so that only gaps matter; otherwise models are
            told the time.
        static: Numbers that are known of a series as a whole.
        names: Name of each channel; empty, or one for each.
        scales: Units of the raw channel in one unit of what a batch holds; all 1 where empty.
        shifts: Raw channel where that of a batch is 0; all 0 where empty.
        step: Median gap between observations, in units of a batch's times.

    Raises:
        SpecError: A size is out of its domain, or names, scales or shifts are not one for each channel.
    """

    kind: ClassVar[str] = "series"

    channels: int
    length: int
    irregular: bool = False
    missing: bool = False
    autonomous: bool = True
    static: int = 0
    names: tuple[str, ...] = ()
    scales: tuple[float, ...] = ()
    shifts: tuple[float, ...] = ()
    step: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.static < 0 or not 0 < self.step < math.inf:
            raise SpecError(
                f"{self.name}: static={self.static}, step={self.step}", "give 0 or more, and a positive gap"
            )
        for what in ("names", "scales", "shifts"):
            if (given := getattr(self, what)) and len(given) != self.channels:
                raise SpecError(
                    f"{self.name}: {len(given)} {what} for {self.channels} channels", "give one for each"
                )

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(length, channels) of the longest series."""
        return (self.length, self.channels)

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Name of each channel, `x1`, `x2`, … where the data have none."""
        return self.names or tuple(f"x{i + 1}" for i in range(self.channels))


def plural(kind: str) -> str:
    """Several inputs of a kind, in words: `images`, `series`."""
    return kind if kind.endswith("s") else f"{kind}s"


def examples() -> list[Spec]:
    """One small spec of every kind of input with every question that it can be asked."""
    questions = (Classes(3), Targets(("y",)), Density())
    made: list[Spec] = []
    for question in questions:
        made += [ImageSpec("example", question, (1, 8, 8)), VectorSpec("example", question, 4)]
    for asked in (Classes(3), Targets(("y",)), Forecast(4, 6), Forecast(1, 6), Density(), Events()):
        made.append(SeriesSpec("example", asked, channels=4, length=8))
    return made


_QUESTIONS: dict[str, type] = {c.kind: c for c in (Classes, Targets, Forecast, Density, Events)}
_INPUTS: dict[str, type] = {c.kind: c for c in (ImageSpec, VectorSpec, SeriesSpec)}


def _made(kinds: dict[str, type], what: str, values: dict[str, Any]) -> Any:
    """An instance of the kind that `values` is tagged with."""
    kind = values.get("kind")
    if kind not in kinds:
        raise SpecError(f"unknown kind of {what} {kind!r}", f"there are: {', '.join(kinds)}")
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if k != "kind"}
    known = {f.name for f in fields(kinds[kind])}
    if unknown := sorted(given.keys() - known):
        raise SpecError(
            f"unknown field {', '.join(unknown)} of {kinds[kind].__name__}", f"it has: {', '.join(known)}"
        )
    return kinds[kind](**given)
