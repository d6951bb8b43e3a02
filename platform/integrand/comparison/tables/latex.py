"""A comparison as LaTeX tables for a paper: booktabs, no vertical rules."""

from __future__ import annotations

from collections.abc import Iterable

from ..results import Comparison
from .contents import comparison_tables, part_tables
from .table import Table

_SYMBOLS = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{",
    "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"$<$", ">": r"$>$",
    "±": r"$\pm$", "≈": r"$\approx$", "≥": r"$\geq$", "≤": r"$\leq$", "×": r"$\times$", "Δ": r"$\Delta$",
    "→": r"$\rightarrow$", "★": r"$\star$", "▲": r"$\blacktriangle$", "▼": r"$\blacktriangledown$",
    "†": r"$^\dagger$", "–": "--", "—": "---", "…": r"\dots{}", "§": r"\S{}",
}  # fmt: skip
_PREAMBLE = "% \\usepackage{booktabs,amssymb,graphicx}, in a document in UTF-8"


def latex(comparison: Comparison) -> str:
    """Every table of the comparison as a `table` environment."""
    blocks = [_PREAMBLE]
    several = len(comparison.parts) > 1
    for number, part in enumerate(comparison.parts, 1):
        for table in part_tables(comparison, part):
            caption = table.title if table.key == "quality" else f"{table.title} ({part.data.title})"
            blocks.append(booktabs(table, caption, f"{table.key}-{number}" if several else table.key))
    blocks += [booktabs(table, table.title, table.key) for table in comparison_tables(comparison)]
    return "\n\n".join(blocks) + "\n"


def booktabs(table: Table, caption: str, label: str) -> str:
    """One table environment, shrunk to the width of the text where it is wider."""
    align = "".join("r" if column.numeric else "l" for column in table.columns)
    lines = [_line(column.head for column in table.columns)]
    lines.append(r"\midrule")
    lines += [_line(cell.text for cell in row) for row in table.rows]
    note = f"\n\n\\par\\smallskip\\footnotesize {escape(table.note)}" if table.note else ""
    body = "\n".join(f"    {line}" for line in lines)
    return (
        "\\begin{table}\n  \\centering\n"
        f"  \\caption{{{escape(caption)}}}\n  \\label{{tab:{label.replace('_', '-')}}}\n"
        "  \\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%\n"
        f"  \\begin{{tabular}}{{{align}}}\n    \\toprule\n{body}\n    \\bottomrule\n"
        f"  \\end{{tabular}}}}{note}\n"
        "\\end{table}"
    )


def escape(text: str) -> str:
    """`text` with everything that LaTeX would read as a command set as what it looks like."""
    return "".join(_SYMBOLS.get(character, character) for character in text)


def _line(cells: Iterable[str]) -> str:
    return " & ".join(map(escape, cells)) + r" \\"
