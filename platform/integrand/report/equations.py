"""Equations, written by the families in one line of Unicode, as MathML: browsers set it without scripts."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from markupsafe import Markup, escape

_SUBSCRIPTS = dict(zip("₀₁₂₃₄₅₆₇₈₉₊₋ₐₑᵢⱼₖₗₘₙₒₚₛₜₓ", "0123456789+−aeijklmnopstx", strict=True))
_SUPERSCRIPTS = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ᵀᵅᵏⁿᵖ", "0123456789+−Tαknp", strict=True))
_ACCENTS = {"\u0307": "˙", "\u0308": "¨", "\u0302": "ˆ", "\u0303": "~", "\u0304": "¯"}
_TOKENS = re.compile(
    r"(?P<space>\s+)|(?P<number>\d+(?:[.,]\d+)?)|(?P<word>[A-Za-z]{2,})|(?P<letter>[^\W\d_][\u0300-\u036f]*)"
    r"|(?P<script>[_^])|(?P<other>.)",
)
_SHORT_WORDS = {"on", "in", "or", "if", "of", "to", "tr", "Re", "ln", "id"}
"""Words of two letters; other pairs are products, such as dt."""


def mathml(equation: str) -> Markup:
    """The equation as a `math` element whose `alttext` is the equation itself.

    Understands Unicode sub- and superscripts, `_x`, `_{…}`, `^x`, `^{…}`, and dots, hats and bars over
    letters; every other character stands for itself.
    """
    inner = Markup("").join(_Reader(unicodedata.normalize("NFD", equation)).row())
    return Markup('<math display="block" alttext="{}">{}</math>').format(equation, inner)


@dataclass
class _Reader:
    """Reads from left to right; scripts attach to the atom before them."""

    text: str
    at: int = 0

    def row(self, until: str = "") -> list[Markup]:
        """Atoms up to `until`, which is consumed, or to the end."""
        atoms: list[Markup] = []
        pending_space = False
        while self.at < len(self.text):
            if until and self.text[self.at] == until:
                self.at += 1
                break
            script = self._script()
            if script is not None:
                tag, content = script
                atoms.append(_attach(tag, atoms.pop() if atoms else Markup("<mrow></mrow>"), content))
                continue
            found = _TOKENS.match(self.text, self.at)
            assert found is not None  # the last alternative takes any character
            self.at = found.end()
            if found.lastgroup == "space":
                pending_space = True
                continue
            new = _atoms(found.lastgroup or "other", found[0])
            # operators bring their own room; blanks mean something between names, and after punctuation
            if pending_space and atoms and _needs_space(atoms[-1], new[0]):
                atoms.append(Markup('<mspace width="0.25em"/>'))
            pending_space = False
            atoms += new
        return atoms

    def _script(self) -> tuple[str, Markup] | None:
        """A sub- or superscript at this place."""
        c = self.text[self.at]
        for table, tag in ((_SUBSCRIPTS, "msub"), (_SUPERSCRIPTS, "msup")):
            if c in table:
                run = ""
                while self.at < len(self.text) and self.text[self.at] in table:
                    run += table[self.text[self.at]]
                    self.at += 1
                return tag, _row(_Reader(run).row())
        if c not in "_^":
            return None
        tag = "msub" if c == "_" else "msup"
        self.at += 1
        if self.at < len(self.text) and self.text[self.at] == "{":
            self.at += 1
            return tag, _row(self.row("}"))
        found = _TOKENS.match(self.text, self.at)
        if found is None:
            return tag, Markup("<mrow></mrow>")
        # one letter or number belongs to the script, not the whole word
        text = found[0][:1] if found.lastgroup == "word" else found[0]
        self.at += len(text)
        kind = "letter" if found.lastgroup == "word" else found.lastgroup or "other"
        return tag, _row(_atoms(kind, text))


def _needs_space(before: Markup, after: Markup) -> bool:
    """Whether a blank between two atoms is more than layout."""
    if before.endswith((">,</mo>", ">;</mo>", ">:</mo>")):
        return True
    return not before.endswith("</mo>") and not after.startswith("<mo ")


def _atoms(kind: str, text: str) -> list[Markup]:
    """The elements of one token."""
    if kind == "number":
        return [Markup("<mn>{}</mn>").format(text)]
    if kind == "word":
        if len(text) > 2 or text in _SHORT_WORDS:
            return [Markup("<mi>{}</mi>").format(text)]  # more than one letter is set upright
        return [Markup("<mi>{}</mi>").format(c) for c in text]
    if kind == "letter":
        base, marks = text[0], text[1:]
        atom = Markup("<mi>{}</mi>").format(base)
        for mark in marks:
            over = _ACCENTS.get(mark)
            atom = (
                Markup('<mover accent="true">{}<mo stretchy="false">{}</mo></mover>').format(atom, over)
                if over
                else Markup("<mi>{}</mi>").format(unicodedata.normalize("NFC", base + mark))
            )
        return [atom]
    return [Markup('<mo stretchy="false">') + escape(text) + Markup("</mo>")]


def _attach(tag: str, base: Markup, content: Markup) -> Markup:
    """The base with a script; a second script of the other kind joins the first."""
    other = {"msub": "msup", "msup": "msub"}[tag]
    if base.startswith(f"<{other}>"):
        inner = base.removeprefix(f"<{other}>").removesuffix(f"</{other}>")
        nucleus, first = _split(inner)
        sub, sup = (content, first) if tag == "msub" else (first, content)
        return Markup("<msubsup>") + Markup(nucleus) + Markup(sub) + Markup(sup) + Markup("</msubsup>")
    return Markup(f"<{tag}>") + base + content + Markup(f"</{tag}>")


def _split(inner: str) -> tuple[str, str]:
    """The two children of an element: nucleus and script; the script is always an mrow."""
    depth = 0
    for found in re.finditer(r"<(/?)(\w+)[^>]*?(/?)>", inner):
        if found[3]:
            continue
        depth += -1 if found[1] else 1
        if depth == 0:
            return inner[: found.end()], inner[found.end() :]
    return inner, ""


def _row(atoms: list[Markup]) -> Markup:
    return Markup("<mrow>") + Markup("").join(atoms) + Markup("</mrow>")
