"""What every evaluation declares, checked on all that are discovered."""

import inspect

import pytest

from integrand import evaluations, quantities
from integrand.evaluations.base import Evaluation

FOUND = evaluations.evaluations()


@pytest.mark.parametrize("name", FOUND)
class TestEvaluation:
    def test_it_says_what_it_is(self, name):
        cls = FOUND[name]
        assert cls.name == name
        assert cls.title
        assert not inspect.isabstract(cls)

    def test_every_quantity_has_a_declared_direction(self, name):
        assert FOUND[name].quantities
        for quantity in FOUND[name].quantities:
            assert quantities.find(quantity.replace("*", "x")) is not None, quantity

    def test_its_options_have_defaults_and_descriptions(self, name):
        """`--with NAME` alone has to work, and `--list` to explain itself."""
        for option, parameter in inspect.signature(FOUND[name]).parameters.items():
            assert parameter.default is not inspect.Parameter.empty, option
            assert f"{option}:" in inspect.getdoc(FOUND[name]), option
        assert isinstance(FOUND[name](), Evaluation)

    def test_what_it_cannot_measure_it_says(self, name):
        reason = FOUND[name].fits(object(), object())
        assert reason
        assert "\n" not in reason


def test_each_stands_in_a_file_of_its_own():
    files = [cls.__module__ for cls in FOUND.values()]
    assert len(set(files)) == len(files)
    assert {"samples", "solver"} <= set(FOUND)
