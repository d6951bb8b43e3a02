"""The page as one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from .atlas import Atlas
from .page import Page
from .wording import sentence, typeset

_LATIN = (
    "U+0-FF,U+131,U+152-153,U+2BB-2BC,U+2C6,U+2DA,U+2DC,U+304,U+308,U+329,"
    "U+2000-206F,U+20AC,U+2122,U+2191,U+2193,U+2212,U+2215"
)
FONTS = (
    ("Source Serif 4", "source-serif-4-latin-wght-normal.woff2", _LATIN),
    ("Source Sans 3", "source-sans-3-latin-wght-normal.woff2", _LATIN),
    ("Source Sans 3", "source-sans-3-greek-wght-normal.woff2", "U+370-3FF"),
)
"""Family, file and the characters that it serves."""


def render(page: Page) -> str:
    """The HTML of a page. Everything in it that is not the page's own markup is escaped."""
    return _rendered("report.html.j2", page, ("page.css",), (_asset("theme.js"), _asset("page.js")))


def render_atlas(atlas: Atlas) -> str:
    """The HTML of an atlas, likewise."""
    return _rendered("atlas.html.j2", atlas, ("page.css", "atlas.css"), (_asset("theme.js"),))


def _rendered(template: str, page: Page | Atlas, styles: Sequence[str], scripts: Sequence[str]) -> str:
    """A template with style, scripts and fonts inside; the first script runs before anything is drawn."""
    environment = Environment(
        loader=PackageLoader(__package__),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"typeset": typeset, "sentence": sentence}
    return environment.get_template(template).render(
        page=page,
        style=Markup(_fonts() + "".join(map(_asset, styles))),
        early=Markup(scripts[0]),
        late=Markup("".join(scripts[1:])),
        # only these scripts may run, and nothing may be fetched: names of runs cannot change that
        policy=f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; "
        f"script-src {' '.join(map(_digest, scripts))}; base-uri 'none'; form-action 'none'",
    )


def _digest(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode('utf-8')).digest()).decode('ascii')}'"


@cache
def _fonts() -> str:
    """The faces as data URIs."""
    faces = []
    for family, name, characters in FONTS:
        data = base64.b64encode(_folder().joinpath("fonts", name).read_bytes()).decode("ascii")
        faces.append(
            f'@font-face{{font-family:"{family}";src:url(data:font/woff2;base64,{data}) format("woff2");'
            f"font-weight:200 900;font-display:block;unicode-range:{characters}}}\n"
        )
    return "".join(faces)


@cache
def _asset(name: str) -> str:
    return _folder().joinpath(name).read_text(encoding="utf-8")


def _folder() -> Traversable:
    return files(__package__).joinpath("assets")
