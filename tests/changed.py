"""Names the tests of what has changed since the branch left main, for `make check`.

`python tests/changed.py [BASE]` prints test files: those that changed, those that import a changed module
or a name that is defined in one, those beside a changed conftest, and the conformance suite where a family
changed. What a test reaches only through the program is not found: `make test` runs everything.
"""

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
ALWAYS = "tests/test_house.py"
ROOMS = {
    "platform/integrand": "integrand",
    "modules": "integrand.modules",
    "datamodules": "integrand.datamodules",
}


def git(*words):
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.split("\n") if done.returncode == 0 else []


def changed_files(base):
    """Paths that differ from the merge base with `base`, committed or not."""
    fork = (git("merge-base", base, "HEAD") or ["HEAD"])[0] or "HEAD"
    found = [*git("diff", "--name-only", fork), *git("ls-files", "--others", "--exclude-standard")]
    return sorted({Path(name) for name in found if name and (ROOT / name).is_file()})


def module_of(path):
    """The import name of a file of the package, None for any other file."""
    for folder, package in ROOMS.items():
        if path.suffix == ".py" and path.is_relative_to(folder):
            inner = path.relative_to(folder).with_suffix("").parts
            return ".".join([package, *inner]).removesuffix(".__init__")
    return None


def names_of(path):
    """What a file defines at its top, as `module.name`, and the module itself."""
    module, tree = module_of(path), ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {module} | {
        f"{part}.{node.name}"
        for node in tree.body
        if isinstance(node, ast.ClassDef | ast.FunctionDef)
        for part in packages(module)
    }


def packages(module):
    """A module and the packages round it, through any of which a name of it may be imported."""
    parts = module.split(".")
    return [".".join(parts[:n]) for n in range(1, len(parts) + 1)]


def imports_of(path):
    """Every module, and every name as `module.name`, that a test imports, wherever it stands."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def tests_of(paths):
    """Test files, relative to the repository, for changed paths."""
    modules = [p for p in paths if module_of(p)]
    wanted = set().union(*map(names_of, modules)) if modules else set()
    folders = {p.parent for p in paths if p.name == "conftest.py" and p.parent != Path("tests")}
    if any(p.is_relative_to("modules") for p in modules):
        folders.add(Path("tests/conformance"))
    chosen = {ALWAYS}
    for test in sorted((ROOT / "tests").rglob("test_*.py")):
        path = test.relative_to(ROOT)
        if path in paths or any(path.is_relative_to(f) for f in folders) or imports_of(test) & wanted:
            chosen.add(path.as_posix())
    return sorted(chosen)


if __name__ == "__main__":
    print("\n".join(tests_of(changed_files(sys.argv[1] if len(sys.argv) > 1 else "main"))))
