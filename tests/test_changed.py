"""`make check` runs the tests of what has changed."""

import importlib.util
import inspect
from pathlib import Path

import pytest

from integrand.modules import ResNet
from integrand.solvers import Dopri5
from integrand.suites.local import LocalLauncher

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def changed():
    spec = importlib.util.spec_from_file_location("changed", HERE / "changed.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("what", "found", "left_out"),
    [
        # imported by its own name
        (LocalLauncher, "tests/suites/test_launcher.py", "tests/suites/test_search.py"),
        # imported from a package above its file
        (Dopri5, "tests/solvers/test_runge_kutta.py", "tests/suites/test_launcher.py"),
        # every registered family is tried there, whether a test names it or not
        (ResNet, "tests/conformance/test_families.py", "tests/suites/test_launcher.py"),
        ("tests/suites/conftest.py", "tests/suites/test_search.py", "tests/cli/test_fit.py"),
        ("tests/cli/test_fit.py", "tests/cli/test_fit.py", "tests/cli/test_runs.py"),
    ],
)
def test_tests_of_a_change(changed, what, found, left_out):
    file = Path(what if isinstance(what, str) else inspect.getsourcefile(what))
    chosen = changed.tests_of([(changed.ROOT / file).resolve().relative_to(changed.ROOT)])
    assert found in chosen
    assert left_out not in chosen
    assert changed.ALWAYS in chosen


def test_no_change_is_the_house_rules_alone(changed):
    assert changed.tests_of([]) == [changed.ALWAYS]
    assert changed.tests_of([Path("README.md")]) == [changed.ALWAYS]
