"""The code that a cell can execute: what its key depends on, besides its configuration.

Of the package count the rooms in which numbers are made; those that start runs, and that carry, show or
compare what was computed, do not. Solvers, diffusion, families and data sets are chosen by class: of them a
cell depends on the classes that it names and on whatever these import; on all, where it names a class of
another package, which may build on any. All other files count for every cell. Comments, docstrings and layout
never count, nor does the code of other packages.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from integrand.config_files import read
from integrand.tracking.provenance.source import PACKAGE, code_of, parsed, source_files

_BYSTANDERS = (
    *("benchmarks", "cli", "comparison", "figures", "report", "suites"),
    *("tracking.processes", "tracking.provenance", "tracking.spool", "tracking.store"),
    *("tracking.__init__", "tracking.history", "tracking.logger", "tracking.request", "tracking.session"),
    *(
        "__init__",
        "__main__",
        "checkpoints",
        "config_files",
        "errors",
        "loading",
        "moved",
        "recipes",
        "record",
    ),
    *("cells", "suggest", "trust", "version"),
)
_CHOSEN = ("datamodules", "diffusion", "evaluations", "modules", "solvers")
"""Where a configuration chooses by class."""
_SHARED = ("modules.bench",)
"""Parts of those that the data choose, so that no configuration names them."""
_WORD = re.compile(r"[A-Za-z_]\w*")
_CLASS = re.compile(r"(?:\w+\.)*[A-Z]\w*")
_FOREIGN = ("torch.", "lightning.")
"""Packages whose classes build on nothing here."""


@dataclass(frozen=True)
class Import:
    """A name that a file imports.

    Args:
        whence: Module inside the package from which it comes.
        name: The name there; empty for the module itself, `*` for all names.
    """

    whence: str
    name: str


class SourceFile:
    """A file of the package.

    Args:
        package: Name of the package.
        module: Dotted name of the file inside it; that of a folder ends in `__init__`.
        path: Where it is.
    """

    def __init__(self, package: str, module: str, path: Path) -> None:
        self.package = package
        self.module = module
        self.tree = parsed(path)

    @cached_property
    def digest(self) -> str:
        """Digest of its code."""
        return hashlib.sha256(code_of(self.tree).encode()).hexdigest()

    @cached_property
    def defined(self) -> frozenset[str]:
        """The names that it binds itself, rather than imports."""
        found: set[str] = set()
        for node in self.tree.body:
            if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
                found.add(node.name)
            elif isinstance(node, (ast.Assign, ast.AnnAssign)):
                found.update(n.id for n in ast.walk(node) if isinstance(n, ast.Name) and _is_bound(n))
        return frozenset(found)

    @cached_property
    def classes(self) -> frozenset[str]:
        """The classes and functions that a configuration can name."""
        return frozenset(n.name for n in self.tree.body if isinstance(n, (ast.ClassDef, ast.FunctionDef)))

    @cached_property
    def imports(self) -> dict[str, Import]:
        """What it imports from the package, wherever the import stands, by the name that it gets here."""
        found = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found.update(self._whole_modules(node))
            elif isinstance(node, ast.ImportFrom) and (whence := self._whence(node)) is not None:
                for alias in node.names:
                    key = f"{whence}.*" if alias.name == "*" else alias.asname or alias.name
                    found[key] = Import(whence, alias.name)
        return found

    def _whole_modules(self, node: ast.Import) -> dict[str, Import]:
        """The modules of the package that an `import …` makes known, by the name that they get here."""
        inside = f"{self.package}."
        return {
            alias.asname or alias.name: Import(alias.name.removeprefix(inside), "")
            for alias in node.names
            if alias.name.startswith(inside)
        }

    def _whence(self, node: ast.ImportFrom) -> str | None:
        """The module inside the package from which an import comes; None for other packages."""
        name = node.module or ""
        if node.level == 0:
            inside = name == self.package or name.startswith(f"{self.package}.")
            return name[len(self.package) + 1 :] if inside else None
        above = self.module.split(".")[: -node.level]
        return ".".join([*above, *([name] if name else [])])


class Sources:
    """The files of a package that count, and which of them a cell reaches.

    Args:
        root: The package's folder.
    """

    def __init__(self, root: Path) -> None:
        modules = {".".join(f.relative_to(root).with_suffix("").parts): f for f in source_files(root)}
        self.files = {
            module: SourceFile(root.name, module, path)
            for module, path in modules.items()
            if not _within(module, _BYSTANDERS)
        }
        self.start = repr(read(root / "configs" / "base.yaml"))
        self.below: dict[str, set[str]] = defaultdict(set)
        """The files of a folder, all folders inside it too, and of a module itself."""
        for module in self.files:
            parts = module.split(".")
            for depth in range(1, len(parts) + 1):
                self.below[".".join(parts[:depth])].add(module)

    def digest(self, modules: Iterable[str] | None = None) -> str:
        """Digest of some files, or of all that count, and of the configuration that all runs start from."""
        chosen = sorted(self.files if modules is None else modules)
        lines = [self.start, *(f"{module} {self.files[module].digest}" for module in chosen)]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def reached(self, said: Collection[str]) -> set[str]:
        """The files that count for a cell.

        Args:
            said: The strings in its configuration; the classes among them are those that it chooses.
        """
        words = {word for text in said for word in _WORD.findall(text)}
        if self._names_unknown_class(said):
            return set(self.files)
        roots = {m for m, f in self.files.items() if _counts_always(m) or f.classes & words}
        found: set[str] = set()
        while roots:
            module = roots.pop()
            found.add(module)
            for imported in self.files[module].imports.values():
                roots |= self._files_of(imported) - found
        return found

    def _names_unknown_class(self, said: Collection[str]) -> bool:
        """Whether a class is chosen whose file is not known, so that every file has to count."""
        known = {name for file in self.files.values() for name in file.classes}
        return any(_CLASS.fullmatch(s) and not s.startswith(_FOREIGN) and _last(s) not in known for s in said)

    def _files_of(self, imported: Import) -> set[str]:
        """The files in which an imported name is defined; those that only pass it on do not count."""
        if (module := self._file_of(imported)) is not None:
            return {module}
        whence, name = imported.whence, imported.name
        folder = self.files.get(f"{whence}.__init__")
        below = self.below.get(f"{whence}.{name}" if name else whence, set())
        if folder is None or below:  # a folder as a whole, or nothing that counts
            return below
        if name in folder.defined:
            return {folder.module}
        if name in folder.imports:
            return self._files_of(folder.imports[name])
        # loaded by name, or all names
        below = self.below.get(whence, set())
        return {m for m in below if name in self.files[m].defined} or below

    def _file_of(self, imported: Import) -> str | None:
        """The file that an import names, or from which it takes a name; None where that is a folder."""
        whence, name = imported.whence, imported.name
        modules = (f"{whence}.{name}" if whence else name, whence)
        return next((module for module in modules if module in self.files), None)


@cache
def sources() -> Sources:
    """This package's."""
    return Sources(PACKAGE)


def code_digest() -> str:
    """Digest of all code that counts: what the processes of a suite have to have in common."""
    return sources().digest()


def cell_code(*said: Any) -> str:
    """Digest of the code that a cell can execute.

    Args:
        *said: Its configuration, overrides and arguments.
    """
    return _digest_of(frozenset(_strings(said)))


@cache
def _digest_of(said: frozenset[str]) -> str:
    return sources().digest(sources().reached(said))


def _strings(value: Any) -> Iterator[str]:
    """Every string in a configuration; of `--option=value` the value."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _strings(item)
    elif isinstance(value, str):
        yield value.partition("=")[2] or value


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _counts_always(module: str) -> bool:
    room, _, rest = module.partition(".")
    shared = room in {"modules", "datamodules"} and "." not in rest and rest != "__init__"
    return room not in _CHOSEN or shared or _within(module, _SHARED)


def _within(module: str, places: Iterable[str]) -> bool:
    return any(module == place or module.startswith(f"{place}.") for place in places)


def _is_bound(node: ast.Name) -> bool:
    return isinstance(node.ctx, ast.Store)
