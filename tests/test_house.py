"""The house rules that no linter knows: folder names, imports, light start-up, and what the wheel holds."""

import ast
import graphlib
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BANNED = {"modules", "datamodules", "pytorch_lightning", "torchvision"}
SOURCES = [p for top in ("platform", "modules", "datamodules") for p in sorted((ROOT / top).rglob("*.py"))]


def run(*command, cwd=ROOT):
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_platform_folder_never_hides_the_standard_library():
    """With platform/__init__.py, `import platform` from the root finds the folder and Python breaks."""
    assert not (ROOT / "platform" / "__init__.py").exists()
    assert not (ROOT / "docker" / "__init__.py").exists()
    check = "import platform; print(platform.__file__); platform.python_version()"
    by_c = run(sys.executable, "-c", check)
    by_m = run(
        sys.executable, "-m", "timeit", "-n", "1", "-r", "1", "import platform; platform.python_version()"
    )
    assert by_c.returncode == 0, by_c.stderr
    assert by_m.returncode == 0, by_m.stderr
    assert not Path(by_c.stdout.strip()).is_relative_to(ROOT)


def test_pytest_from_the_root_sees_the_standard_library():
    import platform

    assert not Path(platform.__file__).is_relative_to(ROOT)


@pytest.mark.parametrize("name", ["modules", "datamodules", "configs"])
def test_top_level_folders_are_linked_into_the_package(name):
    link = ROOT / "platform" / "integrand" / name
    assert link.is_symlink()
    assert link.readlink() == Path("../..") / name


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_no_banned_import(path):
    """`import modules` loads a second copy of every class; pytorch_lightning's classes are not lightning's."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = {(node.module or "").split(".")[0]}
        else:
            continue
        assert not names & BANNED, f"line {node.lineno}"


FLOORS = (
    {
        "version",
        "errors",
        "imports",
        "quiet",
        "suggest",
        "record",
        "registry",
        "config_files",
        "recipes",
        "spec",
        "quantities",
        "moved",
        "cells",
        "checkpoints",
        "compiling",
        "trust",
    },
    {"solvers"},
    {"diffusion", "metrics", "figures", "outcome", "series"},
    {"modules", "datamodules", "tasks", "evaluations"},
    {"tracking", "comparison", "suites", "report", "loading", "promotion", "served", "exporting"},
    {"benchmarks"},
    {"cli", "__main__"},
    {"integrand"},
)
"""From the ground up; each imports from its own floor and those below."""


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts[1:] if parts[0] == "platform" else ("integrand", *parts)
    return ".".join(parts).removesuffix(".__init__")


MODULES = {module_name(path): path for path in SOURCES}


def imported(name):
    """The modules of ours that a file names in an import, wherever in it the import stands."""
    path = MODULES[name]
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            whence = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                full = f"{whence}.{alias.name}"
                yield from {full if full in MODULES else whence} & MODULES.keys()


def test_no_circle_of_files():
    """Two files that import each other, be it inside a function or for type checking only, are one file."""
    graphlib.TopologicalSorter({name: set(imported(name)) for name in MODULES}).prepare()


@pytest.mark.parametrize("name", MODULES)
def test_nothing_imports_upward(name):
    def floor(module):
        room = module.split(".")[1] if "." in module else module
        return next(i for i, rooms in enumerate(FLOORS) if room in rooms)

    for other in imported(name):
        assert floor(other) <= floor(name), f"{name} imports {other}"


@pytest.mark.parametrize("floor", ["solvers", "diffusion"])
def test_the_lower_floors_know_no_trainer_and_no_store(floor):
    for path in (ROOT / "platform" / "integrand" / floor).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            else:
                continue
            for name in names:
                assert not name.startswith(("lightning", "mlflow")), f"{path}:{node.lineno}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_files_stay_small(path):
    assert len(path.read_text().splitlines()) <= 400


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import integrand", {"torch", "lightning", "mlflow"}),
        ("from integrand.cli.main import main; main(['--help'])", {"torch", "lightning", "mlflow", "numpy"}),
        ("import integrand.comparison.analysis", {"torch", "lightning"}),
        ("import integrand.quantities", {"torch", "lightning", "mlflow", "numpy"}),
        ("import integrand.datamodules", {"torch", "lightning"}),
        ("import integrand.modules", {"torch", "lightning"}),
        # a fit until its tracking store is opened, which only MLflow's imports can make slower
        (
            "from integrand.cli.main import main; main(['fit', '--print_config'])",
            {"scipy.signal", "scipy.stats", "scipy.integrate", "scipy.optimize", "pandas", "sklearn"}
            | {"mlflow", "alembic", "fastapi", "torchvision", "diffusers", "torch._inductor.compile_fx"},
        ),
    ],
)
def test_light_imports_stay_light(statement, absent):
    script = f"import sys; {statement}; print('LOADED', *({absent!r} & set(sys.modules)))"
    result = run(sys.executable, "-c", script)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1].split() == ["LOADED"]


def test_published_figures_are_counted_as_their_table_has_them():
    """Rows move between verdicts; the sentences that sum them up must follow."""
    text = (ROOT / "docs/results/published.md").read_text()
    tried, left = text.split("## Could not be tried")
    rows = [line for line in tried.splitlines() if line.startswith("| ") and not line.startswith("| figure")]
    verdicts = Counter(line.rstrip("| ").rpartition("| ")[2].split()[0].rstrip(":,;") for line in rows)
    verdicts["untried"] = sum(line.startswith("| ") for line in left.splitlines()) - 1
    n = verdicts
    assert (
        f"Of the {n.total()} rows {n['reproduced']} are reproduced, {n['partly']} partly, {n['not']} not as released, "
        f"{n['small']} were tried at small scale only, {n['untried']} could not be tried."
    ) in text
    overview = " ".join((ROOT / "docs/results/README.md").read_text().split())
    assert (
        f"{n.total()} figures of papers beside ours, with verdicts; {n['reproduced']} are reproduced, "
        f"{n['untried']} could not be tried"
    ) in overview
