"""Keys follow the code that a cell can execute, and no other."""

import sys
import textwrap
from pathlib import Path

import pytest
from lightning.pytorch import Trainer

from integrand.suites.code import Sources, code_digest, sources
from integrand.tracking.provenance.source import code_of, parsed, source_digest

FILES = {
    "__init__.py": "",
    "version.py": "VERSION = 1\n",
    "spec.py": "FIELDS = 1\n",
    "configs/base.yaml": "seed_everything: 0\n",
    "solvers/__init__.py": "from .euler import Euler\nfrom .heun import Heun\n",
    "solvers/base.py": "class Solver:\n    order = 1\n",
    "solvers/euler.py": "from .base import Solver\n\n\nclass Euler(Solver):\n    weights = (1,)\n",
    "solvers/heun.py": "from .base import Solver\n\n\nclass Heun(Solver):\n    weights = (0.5, 0.5)\n",
    "modules/__init__.py": "def __getattr__(name):\n    raise AttributeError\n",
    "modules/base.py": "class Family:\n    pass\n",
    "modules/bench/net.py": "STEM = 1\n",
    "modules/discrete/__init__.py": "",
    "modules/discrete/layers.py": "def layer():\n    return 1\n",
    "modules/discrete/resnet.py": (
        "from ..base import Family\n\n\nclass ResNet(Family):\n    def make(self):\n"
        "        from .layers import layer\n\n        return layer()\n"
    ),
    "modules/continuous/ode.py": (
        "from package.solvers import Euler\n\nfrom ..base import Family\n\n\n"
        "class ODE(Family):\n    solver = Euler\n"
    ),
    "modules/continuous/steer.py": "from package.modules import ODE\n\n\nclass Steer(ODE):\n    b = 1\n",
    "datamodules/digits.py": "SIZE = 1\n",
    "datamodules/images/digits.py": "class Digits:\n    size = 8\n",
    "datamodules/images/moons.py": "class Moons:\n    size = 2\n",
    "tasks/regression.py": "LOSS = 2\n",
    "tracking/callbacks/budget.py": "LIMIT = 1\n",
    "tracking/store/notes.py": "TITLE = 1\n",
    "cli/main.py": "WIDTH = 1\n",
    "report/page.py": "COLOUR = 1\n",
    "comparison/tests.py": "LEVEL = 1\n",
}
RESNET, ODE, STEER = (("Digits", "ResNet"), ("Digits", "package.modules.ODE"), ("Moons", "Steer"))
CELLS = {"resnet": RESNET, "ode": ODE, "steer": STEER, "heun": (*ODE, "Heun")}


@pytest.fixture
def package(tmp_path):
    """A small package, with modules/ behind a link as in the repository."""
    root = tmp_path / "package"
    for name, text in FILES.items():
        top = tmp_path if name.startswith("modules/") else root
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(text)
    (root / "modules").symlink_to(tmp_path / "modules")
    return root


def digests(package):
    sources = Sources(package)
    return {name: sources.digest(sources.reached(said)) for name, said in CELLS.items()}


ALL = set(CELLS)


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("modules/discrete/resnet.py", {"resnet"}),
        ("modules/discrete/layers.py", {"resnet"}),  # imported inside a function
        ("modules/continuous/ode.py", {"ode", "steer", "heun"}),  # by a name that the package loads on demand
        ("modules/continuous/steer.py", {"steer"}),
        ("solvers/euler.py", {"ode", "steer", "heun"}),  # through the package's own name for it
        ("solvers/heun.py", {"heun"}),
        ("solvers/base.py", {"ode", "steer", "heun"}),
        ("datamodules/images/digits.py", {"resnet", "ode", "heun"}),
        ("datamodules/images/moons.py", {"steer"}),
        ("modules/base.py", ALL),
        ("modules/bench/net.py", ALL),
        ("datamodules/digits.py", ALL),
        ("tasks/regression.py", ALL),
        ("tracking/callbacks/budget.py", ALL),
        ("spec.py", ALL),
        ("configs/base.yaml", ALL),
        ("solvers/__init__.py", set()),  # it only passes names on
        ("tracking/store/notes.py", set()),
        ("cli/main.py", set()),
        ("report/page.py", set()),
        ("comparison/tests.py", set()),
        ("version.py", set()),
    ],
)
def test_a_change_reaches_the_cells_that_can_execute_it(package, name, changed):
    before = digests(package)
    path = package / name
    path.write_text(path.read_text() + ("more: 1\n" if name.endswith(".yaml") else "MORE = 1\n"))
    after = digests(package)
    assert {cell for cell in CELLS if before[cell] != after[cell]} == changed


def test_a_new_family_and_a_new_solver_change_no_other_cell(package):
    before = digests(package)
    (package / "modules" / "discrete" / "other.py").write_text("class Other:\n    x = 1\n")
    (package / "solvers" / "rk4.py").write_text("class RK4:\n    x = 1\n")
    assert digests(package) == before


def test_a_class_of_another_package_may_build_on_all(package):
    counted = Sources(package)
    assert counted.reached({"Digits", "their.Net"}) == set(counted.files)
    assert counted.reached({"Digits", "Their"}) == set(counted.files)
    assert counted.reached({"Digits", "ResNet", "torch.optim.Adam"}) == counted.reached(RESNET)


def test_comments_docstrings_and_layout_do_not_count(tmp_path):
    path = tmp_path / "a.py"

    def code(text):
        path.write_text(textwrap.dedent(text))
        return code_of(parsed(path))

    plain = code("X = 1\nclass A:\n    y = 2\n    def f(self, a, b): return a + b\n")
    said = '''
        """A module."""
        # a comment
        X = 1
        """What X is."""


        class A:
            """A class."""

            y = 2  # two

            def f(
                self, a, b
            ):
                """A function."""
                return a + b
        '''
    assert code(said) == plain
    assert code(said.replace("a + b", "a - b")) != plain
    assert code(said.replace("y = 2", "y = 2.0")) != plain
    assert code(said.replace("y = 2", "y = '2'")) != plain
    assert code("X = 1\nclass A:\n    y = 2\ndef f(self, a, b): return a + b\n") != plain


def test_code_that_this_python_cannot_parse_is_its_text(tmp_path):
    path = tmp_path / "a.py"
    path.write_text("def (:  # one\n")
    one = code_of(parsed(path))
    path.write_text("def (:  # two\n")
    assert code_of(parsed(path)) != one


def test_every_file_of_a_package_counts_for_its_digest(package):
    found = set()
    for name in FILES:
        if name.endswith(".py"):
            path = package / name
            path.write_text(path.read_text() + "MORE = 1\n")
            found.add(source_digest(package))
    assert len(found) == len(FILES) - 1
    path.write_text(path.read_text() + "# a comment\n")
    assert source_digest(package) in found


def test_cells_of_the_real_package():
    """The families and solvers of a cell are in its code; those of others, what shows and what tells are not."""
    reached = sources().reached(
        {"integrand.modules.HeavyBallNeuralODE", "Tsit5", "FashionMini", "torch.optim.SGD"}
    )
    assert {"modules.continuous.heavy_ball_neural_ode", "datamodules.images.fashion_mini", "spec"} <= reached
    assert "solvers.runge_kutta.methods.tsit5" in reached
    assert (
        not {"modules.discrete.resnet", "solvers.runge_kutta.methods.heun", "tracking.store.notes"} & reached
    )
    assert {m for m in reached if m.startswith(("cli.", "report.", "comparison.", "figures."))} == set()
    assert sources().digest(reached) != code_digest()


@pytest.mark.parametrize("family", ["HOResNet", "HeavyBallNeuralODE"])
def test_what_a_training_executes_is_among_the_code_of_its_cell(family):
    """Whatever is found at run time, by the data or by default, rather than named or imported."""
    import integrand.modules
    from integrand.datamodules import Digits

    top = Path(integrand.__file__).parent
    names = {(top / f"{m.replace('.', '/')}.py").resolve().as_posix(): m for m in sources().files}
    cls, executed = getattr(integrand.modules, family), set()
    trainer = Trainer(fast_dev_run=1, logger=False, accelerator="cpu", enable_progress_bar=False)

    def note(frame, event, argument):
        if event == "call" and frame.f_code.co_name != "<module>":
            executed.add(frame.f_code.co_filename)

    sys.setprofile(note)
    try:
        data = Digits(batch_size=8)
        trainer.fit(cls(data.spec, channels=4), datamodule=data)
    finally:
        sys.setprofile(None)
    executed = {names[path] for file in executed if (path := Path(file).resolve().as_posix()) in names}
    assert len(executed) > 20
    assert executed <= sources().reached({family, "Digits"}) | {"modules.__init__", "datamodules.__init__"}
