"""Which source code this is, whether or not it lies in a repository: what it does, not how it is laid out."""

from __future__ import annotations

import ast
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parents[2]
"""The folder of `integrand`."""


def source_files(root: Path = PACKAGE) -> list[Path]:
    """The Python files of a package, in order; links to folders are followed."""
    found = os.walk(root, followlinks=True)
    return sorted(Path(folder) / name for folder, _, names in found for name in names if name.endswith(".py"))


def source_digest(root: Path = PACKAGE) -> str:
    """Digest of the parsed code of a package: comments, docstrings and layout do not count."""
    digest = hashlib.sha256()
    for file in source_files(root):
        digest.update(f"{file.relative_to(root).as_posix()}\0{code_of(parsed(file))}\0".encode())
    return digest.hexdigest()


def parsed(file: Path) -> ast.Module:
    """A file's syntax tree; one that this Python cannot parse stands as one string for its text."""
    text = file.read_text(encoding="utf-8")
    try:
        return ast.parse(text)
    except SyntaxError:
        return ast.Module([ast.Assign([], ast.Constant(text))], [])


def code_of(tree: ast.AST) -> str:
    """A syntax tree as text without comments, docstrings and positions; equal for all versions of Python."""
    return "\0".join(_words(tree))


def _words(node: Any) -> Iterator[str]:
    if isinstance(node, ast.AST):
        yield type(node).__name__
        for field in node._fields:
            value = getattr(node, field, None)
            # fields that newer versions of Python add are empty in older code
            if value is not None and value != []:
                yield field
                yield from _words(value)
    elif isinstance(node, list):
        yield "["
        for item in node:
            if not _is_docstring(item):
                yield from _words(item)
        yield "]"
    else:
        yield repr(node)


def _is_docstring(node: Any) -> bool:
    """Of a module, class, function or constant: a string that nothing is done with."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
