"""What a script of one's own can name: one public namespace for each part, completed by a tab, loaded when used."""

import importlib
import subprocess
import sys

import pytest

import integrand
from integrand.modules import families

PARTS = ["comparison", "datamodules", "diffusion", "modules", "solvers", "tasks"]


@pytest.mark.parametrize("part", PARTS)
def test_every_public_name_is_there_completed_and_documented(part):
    package = getattr(integrand, part)
    assert package is importlib.import_module(f"integrand.{part}")
    assert package.__doc__
    for name in package.__all__:
        assert name in dir(package)
        value = getattr(package, name)
        assert value.__doc__ or not callable(value), name


def test_every_family_is_completed_under_modules():
    assert {family.__name__ for family in families()} <= set(dir(integrand.modules))


def test_a_name_that_is_not_there_is_an_attribute_error():
    for package in (integrand, integrand.comparison, integrand.modules):
        with pytest.raises(AttributeError, match="no attribute 'nothing_of_the_sort'"):
            package.nothing_of_the_sort  # noqa: B018


def test_the_package_and_its_light_parts_load_no_torch():
    code = (
        "import sys, integrand; dir(integrand); integrand.comparison.compare; integrand.datamodules.cards();"
        "print({'torch', 'lightning'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_load_is_named_at_the_top_and_lists_what_it_takes():
    assert "load" in dir(integrand)
    assert "latest" in integrand.load.__doc__
