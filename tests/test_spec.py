"""What a data set publishes: kinds of input and question, and what is refused."""

import json
from dataclasses import dataclass
from typing import ClassVar

import pytest

from integrand.errors import SpecError
from integrand.spec import (
    Classes,
    Density,
    Forecast,
    ImageSpec,
    Question,
    SeriesSpec,
    Spec,
    Targets,
    VectorSpec,
    examples,
)


@pytest.mark.parametrize("spec", examples(), ids=lambda s: f"{s.kind}-{s.question.kind}")
def test_a_spec_survives_json(spec):
    assert Spec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_the_question_says_how_long_an_answer_is():
    assert VectorSpec("x", Classes(7), 2).question.size == 7
    assert VectorSpec("x", Targets(("a", "b")), 2).question.size == 2
    assert VectorSpec("x", Density(), 2).question.size == 0
    assert VectorSpec("x", Targets(("a",)), 2).num_classes == 0
    assert ImageSpec("x", Classes(2, ("no", "yes")), (3, 4, 5)).class_names == ("no", "yes")
    assert ImageSpec("x", Classes(2), (3, 4, 5)).input_size == 60


def test_channels_without_names_are_numbered():
    assert SeriesSpec("x", Density(), 2, 8).channel_names == ("x1", "x2")
    assert SeriesSpec("x", Density(), 2, 8, names=("q", "p")).channel_names == ("q", "p")


@dataclass(frozen=True)
class Riddle(Question):
    kind: ClassVar[str] = "riddle"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda: VectorSpec("x", Riddle(), 2),
            "which is no question → ask one of Classes, Targets, Forecast, Density, Events",
        ),
        (lambda: VectorSpec("x", "classes", 2), "'classes', which is no question"),
        (lambda: VectorSpec("x", Density(), 0), "hold nothing"),
        (lambda: ImageSpec("x", Density(), (1, 0, 4)), "hold nothing"),
        (lambda: ImageSpec("x", Density(), (4, 4)), "give \\(channels, height, width\\)"),
        (lambda: Classes(1), "leave nothing to tell apart"),
        (lambda: Classes(3, ("a", "b")), "2 class names for 3 classes"),
        (lambda: Targets(()), "without a target"),
        (lambda: Targets(("a", "b"), scales=(1.0,)), "1 scales for 2 targets"),
        (lambda: Forecast(0, 3), "forecast of 3 observations from 0"),
        (lambda: Forecast(1, 3, lyapunov=-1.0), "Lyapunov exponent of -1.0"),
        (lambda: SeriesSpec("x", Density(), 2, 8, names=("a",)), "1 names for 2 channels"),
        (lambda: SeriesSpec("x", Density(), 2, 8, scales=(1.0,)), "1 scales for 2 channels"),
        (lambda: SeriesSpec("x", Density(), 2, 8, step=0.0), "step=0.0"),
        (lambda: SeriesSpec("x", Density(), 0, 8), "hold nothing"),
        (lambda: Spec.from_dict({"kind": "image"}), "without a question"),
        (
            lambda: Spec.from_dict({"kind": "scent", "question": {"kind": "density"}}),
            "unknown kind of input 'scent' → there are: image, vector, series",
        ),
        (
            lambda: Spec.from_dict({"kind": "vector", "question": {"kind": "colour"}}),
            "unknown kind of question 'colour'",
        ),
        (
            lambda: Spec.from_dict(
                {"kind": "vector", "name": "x", "size": 2, "sise": 3, "question": {"kind": "density"}}
            ),
            "unknown field sise of VectorSpec",
        ),
    ],
)
def test_what_is_unknown_is_one_clear_error(make, said):
    with pytest.raises(SpecError, match=said):
        make()
