"""The page in a real browser: Debian's Chromium, driven by Playwright."""

import shutil

import pytest

from integrand.report.artifacts import in_folder
from integrand.report.atlas import build_atlas
from integrand.report.build import build_page
from integrand.report.render import render, render_atlas

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        CHROMIUM is None, reason="no Chromium on this machine: make browser, or apt-get install chromium"
    ),
]
playwright = pytest.importorskip(
    "playwright.sync_api", reason="Playwright is in the test extra: pip install -e '.[test]'"
)

CONTRASTS = """() => {
  const linear = (c) => { c /= 255; return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
  const luminance = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const parse = (text) => { const n = text.match(/[\\d.]+/g).map(Number); return [n[0], n[1], n[2], n[3] ?? 1]; };
  const over = (top, under) => top.slice(0, 3).map((c, i) => c * top[3] + under[i] * (1 - top[3]));
  const background = (node) => {
    if (!node) return [255, 255, 255];
    const colour = parse(getComputedStyle(node).backgroundColor);
    return colour[3] === 1 ? colour.slice(0, 3) : over(colour, background(node.parentElement));
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !node.checkVisibility() || node.closest('script')) continue;
    const style = getComputedStyle(node);
    const under = background(node);
    const ink = over(parse(node instanceof SVGElement ? style.fill : style.color), under);
    const [a, b] = [luminance(ink), luminance(under)].sort((x, y) => y - x);
    found.push([(a + 0.05) / (b + 0.05), node.tagName + '.' + node.className + ': ' + node.textContent.trim().slice(0, 40)]);
  }
  return found;
}"""
MARKS = """() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number).slice(0, 3);
  const linear = (c) => { c /= 255; return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
  const luminance = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const paper = luminance(parse(getComputedStyle(document.documentElement).backgroundColor));
  return [0, 1, 2, 3, 4, 5, 6].map((i) => {
    const node = document.createElement('i');
    node.style.color = `var(--s${i})`;
    document.body.append(node);
    const [a, b] = [luminance(parse(getComputedStyle(node).color)), paper].sort((x, y) => y - x);
    node.remove();
    return (a + 0.05) / (b + 0.05);
  });
}"""


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        # root has no sandbox in a container; the page comes from this test
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def url(records, comparison, tmp_path_factory):
    runs = [run for part in comparison.parts for row in part.rows for run in row.group.runs]
    path = tmp_path_factory.mktemp("page") / "report.html"
    page = build_page(comparison, in_folder(records, [run.run_id for run in runs]), ["--records", "small"])
    path.write_text(render(page), encoding="utf-8")
    return path.as_uri()


@pytest.fixture
def visit(browser, url):
    """Opens the page; at the end nothing may have gone wrong behind it."""
    contexts, problems = [], []

    def open_page(width=1280, height=900, scheme="light", at=url, **options):
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, **options
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda m: problems.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda e: problems.append(str(e)))
        page.on("requestfailed", lambda r: problems.append(r.url))
        page.on(
            "request", lambda r: problems.append(r.url) if not r.url.startswith(("file:", "data:")) else None
        )
        page.goto(at)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_atlas_can_be_read(visit, comparison, scheme, tmp_path):
    path = tmp_path / "atlas.html"
    path.write_text(
        render_atlas(build_atlas({"small": comparison}, {"small": "small.html"})), encoding="utf-8"
    )
    page = visit(scheme=scheme, at=path.as_uri())
    assert all(contrast >= 4.5 for contrast, _ in page.evaluate(CONTRASTS))
    # standings are told by a sign too, and by more than one background
    cells = page.locator(".atlas td")
    assert {text.split()[0] for text in cells.all_inner_texts()} == {"★", "≈", "▼"}
    grounds = {cell.evaluate("e => getComputedStyle(e).backgroundColor") for cell in cells.all()}
    assert len(grounds) == 3
    page.set_viewport_size({"width": 360, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def column(page, table, index):
    cells = f"#{table} tbody tr:not([hidden]) > :nth-child({index + 1})"
    return [text.strip() for text in page.locator(cells).all_inner_texts()]


def test_sorting_by_mouse_and_keyboard(visit):
    page = visit()
    table = "data-1-costs"
    before = column(page, table, 0)
    head = page.locator(f"#{table} th", has_text="parameters")
    numbers = lambda: [int(text.split()[0].replace(",", "")) for text in column(page, table, 1)]  # noqa: E731
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert numbers() == sorted(numbers()) == [2714, 7706, 10571, 16826]
    head.get_by_role("button").press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    assert numbers() == sorted(numbers(), reverse=True)
    group = page.locator(f"#{table} th", has_text="group").first
    group.get_by_role("button").press("Space")
    assert head.get_attribute("aria-sort") == "none"
    assert column(page, table, 0) == sorted(before) != before


def test_filter_reaches_tables_figures_and_families(visit):
    page = visit()
    page.get_by_role("searchbox", name="Filter by family").fill("heavy")
    assert column(page, "data-1-quality", 0) == ["heavy-ball-neural-ode"]
    assert page.locator(".family:visible").count() == 1
    shown = page.locator("#data-1-cost-nfe_forward .wide .mark:visible")
    assert [m.get_attribute("data-group") for m in shown.all()] == ["heavy-ball-neural-ode"]
    assert page.locator("#status").inner_text() == "1 groups shown"
    page.get_by_role("searchbox").fill("")
    assert len(column(page, "data-1-quality", 0)) == 4


def test_legend_hides_a_group_in_every_figure(visit):
    page = visit()
    button = page.locator("#data-1-curve-quality .legend button", has_text="resnet")
    lines = page.locator("#data-1-curve-quality .wide [data-group=resnet] .line")
    assert lines.is_visible()
    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    assert not lines.is_visible()
    assert not page.locator("#data-1-differences .wide [data-group=resnet]").is_visible()
    button.press("Enter")
    assert lines.is_visible()


def test_tabs_show_one_cost_at_a_time(visit):
    page = visit()
    assert page.locator("#cost .panel:visible").count() == 1
    page.locator("#cost .tabs button", has_text="s/epoch").click()
    assert page.locator("#data-1-cost-seconds_per_epoch").is_visible()
    assert not page.locator("#data-1-cost-nfe_forward").is_visible()


def test_marks_speak_under_the_pointer_and_by_arrows(visit):
    page = visit()
    tip = page.get_by_role("tooltip")
    mark = page.locator("#data-1-cost-nfe_forward .wide .mark[data-group=no-block] .marker")
    mark.hover()
    assert tip.inner_text().splitlines()[0] == "no-block"
    assert "3 seeds" in tip.inner_text()
    page.keyboard.press("Escape")
    assert not tip.is_visible()
    stops = page.locator("#data-1-cost-nfe_forward .wide .mark[tabindex='0']")
    assert stops.count() == 1, "one stop for the tabulator in a figure"
    stops.focus()
    first = tip.inner_text().splitlines()[0]
    page.keyboard.press("ArrowRight")
    assert tip.inner_text().splitlines()[0] != first


def test_crosshair_reads_the_curves(visit):
    page = visit()
    plot = page.locator("#data-1-curve-quality .wide .plot")
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.5 * box["height"])
    tip = page.get_by_role("tooltip")
    assert tip.inner_text().startswith("epoch ")
    assert page.locator("#data-1-curve-quality .wide .crosshair circle").count() == 4
    first = tip.inner_text().splitlines()[0]
    plot.press("ArrowRight")
    assert tip.inner_text().splitlines()[0] != first
    assert "neural-ode" in page.locator("#status").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(visit, scheme):
    """WCAG 2.2 AA: 4.5 for text, 3 for what graphics consist of."""
    page = visit(scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    found = page.evaluate(CONTRASTS)
    assert len(found) > 300
    low = sorted((ratio, where) for ratio, where in found if ratio < 4.5)
    assert not low, low[:5]
    assert min(page.evaluate(MARKS)) >= 3
    background = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (scheme == "light")


def test_the_switch_overrules_the_system(visit):
    page = visit(scheme="dark")
    background = "getComputedStyle(document.documentElement).backgroundColor"
    dark = page.evaluate(background)
    page.get_by_role("button", name="Switch between light and dark").click()
    assert page.evaluate(background) == "rgb(255, 255, 255)" != dark
    page.reload()
    assert page.evaluate(background) == "rgb(255, 255, 255)", "the choice is kept"


@pytest.mark.parametrize("width", [360, 390, 768, 1900])
def test_no_page_scrolls_sideways(visit, width):
    page = visit(width, 800, "light")
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    wide = page.locator("#data-1-cost-nfe_forward .wide").is_visible()
    assert wide == (width >= 768)
    # tables that are too wide scroll in their own box
    boxes = page.evaluate(
        "[...document.querySelectorAll('.box')].filter((b) => b.checkVisibility()).map((b) => b.getBoundingClientRect().right)"
    )
    assert max(boxes) <= width


def test_names_in_tables_on_a_phone_break_where_a_reader_would(visit):
    page = visit(390, 800)
    rows = page.evaluate("""[...document.querySelectorAll('tbody th:has(.swatch)')].filter((t) => t.checkVisibility())
      .map((t) => [t.textContent.trim(), t.clientHeight / parseFloat(getComputedStyle(t).lineHeight)])""")
    assert len(rows) >= 8  # two tables of four families
    # heavy-ball-neural-ode needs two lines; a column as narrow as its letters allow would make six of it
    assert all(lines < 3 for _, lines in rows), rows


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_plots_are_dark_on_a_dark_page(visit, scheme):
    other = "light" if scheme == "dark" else "dark"
    page = visit(scheme=scheme)
    look = (
        "[...document.querySelectorAll('img.plotted')].map((i) => getComputedStyle(i).filter.split('(')[0])"
    )
    expected = {"light": {"none"}, "dark": {"invert"}}
    assert set(page.evaluate(look)) == expected[scheme]
    page.get_by_role("button", name="Switch between light and dark").click()
    assert set(page.evaluate(look)) == expected[other]


def test_phone_text_is_large_enough(visit):
    """SVG text shrinks with its drawing: the narrow one must keep it at 11 pixels."""
    page = visit(360, 740)
    sizes = page.evaluate("""[...document.querySelectorAll('.plot')].filter((p) => p.checkVisibility()).map((plot) =>
      Math.min(...[...plot.querySelectorAll('text')].map((t) =>
        parseFloat(getComputedStyle(t).fontSize) * plot.getBoundingClientRect().width / plot.viewBox.baseVal.width)))""")
    assert len(sizes) > 3
    assert min(sizes) >= 10


def test_without_scripts_everything_is_there(visit):
    page = visit(java_script_enabled=False)
    assert page.locator("#cost .panel:visible").count() == 4
    assert page.locator("#theme").is_hidden()
    assert page.locator("#data-1-cost-nfe_forward .wide .marker").count() == 4


def test_print_opens_everything_in_black_on_white(visit):
    page = visit(scheme="dark")
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator(".bar").is_hidden()
    assert page.locator("#cost .panel:visible").count() == 4
    assert page.locator(".family[open]").count() == 4
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"


def test_equations_and_pictures_are_drawn(visit):
    page = visit()
    equation = page.locator(".family[data-group=neural-ode] math")
    assert equation.bounding_box()["height"] > 15
    assert page.evaluate("[...document.images].every((i) => i.complete && i.naturalWidth > 0)")
    assert page.locator("img").count() == 1
    fonts = page.evaluate(
        "document.fonts.ready.then((f) => [...f].filter((x) => x.status === 'loaded').map((x) => x.family))"
    )
    assert {"Source Sans 3", "Source Serif 4"} <= {name.strip('"') for name in fonts}
