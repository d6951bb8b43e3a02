"""Unicode equations as MathML."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from integrand.report.cards import cards
from integrand.report.equations import mathml


def inner(text):
    """The MathML without its root and the attribute that every operator has."""
    return str(mathml(text)).partition(">")[2].removesuffix("</math>").replace(' stretchy="false"', "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x_n", "<msub><mi>x</mi><mrow><mi>n</mi></mrow></msub>"),
        ("x_{n+1}", "<msub><mi>x</mi><mrow><mi>n</mi><mo>+</mo><mn>1</mn></mrow></msub>"),
        ("t^{−3/2}", "<msup><mi>t</mi><mrow><mo>−</mo><mn>3</mn><mo>/</mo><mn>2</mn></mrow></msup>"),
        ("h²", "<msup><mi>h</mi><mrow><mn>2</mn></mrow></msup>"),
        # a script of either kind after one of the other belongs to the same letter
        ("K₁ᵀ", "<msubsup><mi>K</mi><mrow><mn>1</mn></mrow><mrow><mi>T</mi></mrow></msubsup>"),
        ("K^T_j", "<msubsup><mi>K</mi><mrow><mi>j</mi></mrow><mrow><mi>T</mi></mrow></msubsup>"),
        ("ḣ", '<mover accent="true"><mi>h</mi><mo>˙</mo></mover>'),
        # pairs of letters are products, words are set upright as one
        ("dt", "<mi>d</mi><mi>t</mi>"),
        ("sigmoid", "<mi>sigmoid</mi>"),
        ("a < b", "<mi>a</mi><mo>&lt;</mo><mi>b</mi>"),
    ],
)
def test_notation(text, expected):
    assert inner(text) == expected


def test_text_is_kept_for_those_who_cannot_see_it():
    assert ET.fromstring(str(mathml('a "b" < c'))).get("alttext") == 'a "b" < c'


def test_every_family_has_an_equation_that_is_well_formed_and_complete():
    """Nothing of an equation is lost but its layout: scripts' carets, braces and blanks."""
    assert len(cards()) >= 27
    for card in cards().values():
        assert card.equation, card.family
        root = ET.fromstring(str(mathml(card.equation)))
        letters = {c for c in "".join(root.itertext()) if c.isascii() and c.isalpha()}
        assert {c for c in card.equation if c.isascii() and c.isalpha()} <= letters, card.family
        assert not {"_", "^", "{", "}"} & {node.text for node in root.iter("mo")}, card.equation


def test_cards_say_what_the_documentation_says():
    """The conformance suite holds docs/families.md to the classes, which would load torch here."""
    rows = (Path(__file__).resolve().parents[2] / "docs" / "families.md").read_text(encoding="utf-8")
    for card in cards().values():
        (row,) = [line for line in rows.splitlines() if line.startswith(f"| `{card.class_name}` |")]
        assert f"| {card.family} | {card.group} |" in row
        assert card.title
        assert card.reference
        assert card.summary
