"""The files: one HTML page that needs nothing else, and the tables beside it."""

import base64
import hashlib
import json
import re
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser

import pytest

from integrand.cli import report as command
from integrand.comparison.records.store import load_mlflow
from integrand.errors import TrackingError
from integrand.report.build import build_page
from integrand.report.render import render
from integrand.tracking.store.opening import mlflow_client

VOID = {"meta", "link", "input", "img", "br"}


class Page(HTMLParser):
    """Elements with their attributes, and whether tags are balanced."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self.open, self.texts = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"{tag} closes at {self.getpos()}"

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else "", data))

    def named(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def folder(records, tmp_path_factory):
    """What the command writes from the records alone."""
    out = tmp_path_factory.mktemp("out")
    assert command.run(["--records", str(records), "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def text(folder):
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def html(text):
    return Page(text)


def test_files(folder):
    names = {path.name for path in folder.iterdir()}
    assert {"report.html", "table.md", "table.csv", "runs.csv", "table.tex"} <= names
    assert "neural-ode" in (folder / "table.tex").read_text()


def test_tags_are_balanced_and_ids_unique(html):
    assert html.open == []
    ids = Counter(attributes["id"] for _, attributes in html.elements if "id" in attributes)
    assert not [name for name, count in ids.items() if count > 1]


def test_links_and_controls_have_their_targets(html):
    ids = {attributes["id"] for _, attributes in html.elements if "id" in attributes}
    targets = [a["href"].removeprefix("#") for a in html.named("a")]
    targets += [b["aria-controls"] for b in html.named("button") if "aria-controls" in b]
    targets += [a["aria-labelledby"] for _, a in html.elements if "aria-labelledby" in a]
    assert len(targets) > 15
    assert set(targets) <= ids


def test_nothing_is_fetched(html, text):
    for tag, attributes in html.elements:
        for name in ("src", "href", "xlink:href", "srcset", "poster", "data", "action"):
            value = attributes.get(name) or ""
            assert value.startswith(("#", "data:")) or not value, (tag, name, value[:80])
    style = text[text.index("<style>") : text.index("</style>")]
    assert "@import" not in style
    assert all(url.startswith("data:") for url in re.findall(r"url\(([^)]{0,12})", style))


def test_only_the_page_s_own_scripts_may_run(html, text):
    (policy,) = [m["content"] for m in html.named("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    scripts = [s for s in re.findall(r"<script([^>]*)>(.*?)</script>", text, re.S) if "json" not in s[0]]
    assert len(scripts) == 2
    for _, source in scripts:
        digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert not [name for _, attributes in html.elements for name in attributes if name.startswith("on")]


def test_data_blocks_are_json(text):
    blocks = re.findall(r'<script type="application/json" class="numbers">(.*?)</script>', text, re.S)
    assert len(blocks) >= 3 + 4  # three curves of the part, one of each family
    for block in blocks:
        for line in json.loads(block):
            assert len(line["x"]) == len(line["y"]) == len(line["shown"]) > 0


def test_tables_are_marked_up(html, text):
    assert all("scope" in attributes for attributes in html.named("th"))
    for table in re.findall(r"<table.*?</table>", text, re.S):
        head, _, body = table.partition("</thead>")
        columns = len(re.findall("<th[ >]", head))
        for row in re.findall(r"<tr.*?</tr>", body, re.S):
            assert len(re.findall("<t[hd][ >]", row)) == columns


def test_pictures_and_figures_have_words(html):
    assert html.named("img")
    assert all(len(image["alt"]) > 10 for image in html.named("img"))
    plots = [svg for svg in html.named("svg") if svg["class"].startswith("plot")]
    assert len(plots) > 10
    assert all(len(svg["aria-label"]) > 40 for svg in plots)
    others = [svg for svg in html.named("svg") if not svg["class"].startswith("plot")]
    assert all(svg["aria-hidden"] == "true" for svg in others)


def test_names_of_runs_are_escaped(tmp_path, make_record, save_records, compare_folder):
    """A family, an error or a data set may be called anything."""
    evil = '</script><img src=x onerror="alert(1)">'
    runs = [make_record(evil, s, run_id=f"{s:032x}", run_name=evil, solver=evil) for s in range(2)]
    runs += [make_record("resnet", s, data={"name": evil}, run_id=f"{s + 9:032x}") for s in range(2)]
    runs[0].data = runs[1].data = {"name": evil}
    runs.append(
        make_record("lost", 3, status="FAILED", error={"type": "E", "message": evil}, data={"name": evil})
    )
    found = Page(render(build_page(compare_folder(save_records(runs, tmp_path / "evil")))))
    assert not [a for a in found.named("img") if a.get("src") == "x"]
    assert not [name for _, attributes in found.elements for name in attributes if name == "onerror"]
    assert any(evil in words for _, words in found.texts)
    assert found.open == []


def test_the_page_needs_no_torch():
    script = (
        "import sys, integrand.report.build, integrand.report.write, integrand.report.publish, "
        "integrand.report.artifacts, integrand.cli.report; "
        "print('LOADED', *({'torch', 'lightning'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["LOADED"]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store that holds runs with their records, as tracking leaves them; MLflow takes seconds to make one."""
    folder = tmp_path_factory.mktemp("store")
    uri = f"sqlite:///{folder}/mlflow.db"
    client = mlflow_client(uri)
    client.create_experiment("small", artifact_location=str(folder / "artifacts"))
    return uri, client


def record_in(store, runs):
    """Log the runs into the store."""
    _, client = store
    experiment = client.get_experiment_by_name("small").experiment_id
    for run in runs:
        run.run_id = client.create_run(experiment, run_name=run.run_name).info.run_id
        client.log_text(run.run_id, run.to_json(), "record.json")
        client.set_terminated(run.run_id, run.status)
    return experiment


def test_report_is_logged_and_never_taken_for_a_training_run(
    store, tmp_path, monkeypatch, make_suite, capsys
):
    monkeypatch.chdir(tmp_path)
    uri, client = store
    experiment = record_in(store, [run for run in make_suite() if run.seed < 2 and run.family != "resnet"])
    assert command.run(["--experiment", "small", "--tracking-uri", uri]) == 0
    assert "logged as run" in capsys.readouterr().out
    (logged,) = client.search_runs([experiment], "tags.role = 'comparison'")
    assert logged.info.status == "FINISHED"
    assert "neural-ode has the largest mean" in logged.data.tags["mlflow.note.content"]
    names = {file.path for file in client.list_artifacts(logged.info.run_id, "report")}
    assert {"report/report.html", "report/table.md", "report/runs.csv", "report/table.tex"} <= names
    assert len(load_mlflow("small", tracking_uri=uri)) == 6

    def dead(*args, **kwargs):
        raise TrackingError("the tracking server does not answer", "start it")

    monkeypatch.setattr("integrand.report.publish.open_store", dead)
    with pytest.raises(TrackingError, match="does not answer"):
        command.run(["--experiment", "small", "--tracking-uri", uri, "--out", "kept"])
    assert "were not logged" in capsys.readouterr().err
    assert (tmp_path / "kept" / "report.html").stat().st_size > 100_000, "a dead server loses no file"
    assert (tmp_path / "kept" / "table.md").is_file()
    assert command.run(["--experiment", "small", "--tracking-uri", uri, "--no-log"]) == 0


def test_a_folder_that_cannot_be_written_is_named(records, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TrackingError, match="cannot write to"):
        command.run(["--records", str(records), "--out", str(tmp_path / "file")])


def test_no_finished_run_makes_a_page_that_says_so(tmp_path, make_record, save_records):
    runs = [make_record("resnet", s, status="FAILED") for s in range(2)]
    runs[0].status = "FINISHED"
    runs[0].metrics["final/test_acc"] = float("nan")
    save_records(runs, tmp_path / "lost")
    out = tmp_path / "out"
    code = command.run(["--records", str(tmp_path / "lost"), "--out", str(out), "--metric", "best/val_acc"])
    assert code == 0
    assert "1 run counts" in (out / "report.html").read_text()
