"""`--data PATH` through the program: what is inferred is recorded, and a trained model predicts files."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from integrand.record import RunRecord

QUICK = ["--model", "ResNet", "--model.channels", "4", "--trainer.max_epochs", "1"]


def picture(path, level, size=(9, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(level).integers(0, 40, (size[1], size[0]))
    Image.fromarray((level + noise).astype(np.uint8)).save(path)


def newest(program):
    return max(program.runs(), key=lambda run: run.info.start_time)


def predictions(result):
    """The rows of the file whose path is the last line."""
    path = Path(result.stdout.strip().splitlines()[-1])
    assert path.is_file(), result.stdout
    return list(csv.DictReader(path.open()))


def test_a_folder_of_images_is_trained_on_and_new_ones_are_predicted(program):
    for i in range(12):
        picture(program.folder / "shapes" / "dark" / f"{i}.png", 20 + i)
        picture(program.folder / "shapes" / "bright" / f"{i}.webp", 180 + i, (10, 12))
    result = program("fit", *QUICK, "--data", "shapes/", "--test_after_fit", "true")
    assert result.returncode == 0, result.stderr
    said = result.stderr
    assert "shapes/ is read as ImageFolder (24 images): --data ImageFolder --data.path shapes/ says" in said
    assert said.count("are brought to 8×8 (data.side)") == 1, "said once"
    (run,) = program.runs()
    assert run.data.tags["data"] == "shapes"
    record = RunRecord.read(program.artifacts(run) / "record.json")
    assert record.data["spec"]["question"]["names"] == ["bright", "dark"]
    assert record.data["spec"]["shape"] == [3, 8, 8], "WebP knows colours only"
    assert record.data["inferred"]["fit"] == "crop"
    assert 0 < record.data["inferred"]["mean"][0] < 1
    assert (record.data["n_train"], record.data["n_val"], record.data["n_test"]) == (15, 4, 5)
    assert len(record.data["digest"]) == 64

    # what it was trained on is not needed any more
    (program.folder / "shapes").rename(program.folder / "gone")
    picture(program.folder / "new" / "a.png", 30, (40, 30))
    picture(program.folder / "new" / "b.png", 200)
    result = program("predict", "--run", run.info.run_id[:6], "--data", "new/")
    assert result.returncode == 0, result.stderr
    rows = predictions(result)
    assert [row["id"] for row in rows] == ["a.png", "b.png"]
    assert {row["true"] for row in rows} == {""}
    assert set(rows[0]) == {"index", "id", "predicted", "name", "true", "p(bright)", "p(dark)"}

    refused = program("test", "--run", run.info.run_id[:6], "--data", "new/")
    assert refused.returncode == 2
    assert "new holds no answers that the model knows" in refused.stderr
    picture(program.folder / "labelled" / "dark" / "c.png", 33)
    result = program("test", "--run", run.info.run_id[:6], "--data", "labelled")
    assert result.returncode == 0, result.stderr
    assert newest(program).data.metrics["final/test_acc"] in (0, 1)


def test_a_table_is_trained_on_and_rows_without_a_target_are_predicted(program):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"name": [f"r{i}" for i in range(40)], "size": rng.normal(50, 9, 40)})
    table["kind"] = rng.choice(["x", "y"], 40)
    table["price"] = 3 * table["size"] + 100 * (table.kind == "y")
    table.to_csv(program.folder / "houses.csv", index=False)
    result = program("fit", *QUICK, "--data", "houses.csv", "--data.batch_size", "8")
    assert result.returncode == 0, result.stderr
    (run,) = program.runs()
    assert run.data.tags["task"] == "regression"
    record = RunRecord.read(program.artifacts(run) / "record.json")
    assert record.data["spec"]["question"]["names"] == ["price"]
    assert record.data["inferred"]["features"] == ["size", "kind=x", "kind=y"]

    result = program("predict", "--run", "latest")
    assert result.returncode == 0, result.stderr
    known = table.set_index("name").price
    rows = predictions(result)
    assert len(rows) == record.data["n_test"]
    for row in rows:
        assert float(row["true(price)"]) == pytest.approx(known[row["id"]], rel=1e-4)

    table.drop(columns="price").head(3).to_csv(program.folder / "new.csv", index=False)
    result = program("predict", "--run", run.info.run_id[:6], "--data", "new.csv")
    assert result.returncode == 0, result.stderr
    rows = predictions(result)
    assert [row["id"] for row in rows] == ["r0", "r1", "r2"]
    assert {row["true(price)"] for row in rows} == {""}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--data", "no/such/folder"], "--data no/such/folder: there is no such file or folder"),
        (["--data", "broken.npz"], "broken.npz cannot be read as arrays"),
        (["--data", "Arrays", "--data.path", "broken.npz"], "broken.npz cannot be read as arrays"),
        (["--data", "CSVTable", "--data.path", "twice.csv"], "twice.csv has two columns called 'a'"),
        (["--data", "CSVTable", "--data.path", "broken.npz"], "broken.npz cannot be read as a table"),
        (["--data", "ImageFolder", "--data.path", "broken.npz"], "broken.npz is no folder"),
    ],
)
def test_a_wrong_file_is_one_line_that_shows_nothing_of_it(program, arguments, said):
    (program.folder / "broken.npz").write_bytes(b"\x93secret\xff" * 3000)
    (program.folder / "twice.csv").write_text("a,b,a\n1,2,3\n")
    result = program("fit", "--model", "ResNet", "--trainer.logger", "false", *arguments)
    assert result.returncode == 2, result.stderr
    line = result.stderr.strip().splitlines()[-1]
    assert said in line
    assert "→" in line
    assert len(result.stderr) < 1000
    assert "secret" not in result.stderr


def test_series_of_a_file_are_classified_without_their_classes(program):
    rng = np.random.default_rng(0)
    frames = [
        pd.DataFrame(
            {"id": f"s{i}", "time": np.arange(6.0), "x": rng.normal(i % 2, 0.1, 6), "label": "ab"[i % 2]}
        )
        for i in range(12)
    ]
    table = pd.concat(frames)
    table.to_csv(program.folder / "runs.csv", index=False)
    quick = ["--model", "GRUGaps", "--trainer.max_epochs", "1"]
    result = program("fit", *quick, "--data", "runs.csv")
    assert result.returncode == 0, result.stderr
    assert "runs.csv is read as CSVTrajectories (its column time holds times)" in result.stderr
    table[table.id.isin(["s1", "s2"])].drop(columns="label").to_csv(program.folder / "new.csv", index=False)
    result = program("predict", "--run", "latest", "--data", "new.csv")
    assert result.returncode == 0, result.stderr
    rows = predictions(result)
    assert [(row["id"], row["true"]) for row in rows] == [("s1", ""), ("s2", "")]
    refused = program("predict", "--run", newest(program).info.run_id, "--data", "missing.csv")
    assert refused.returncode == 2
    assert "--data missing.csv: there is no such file or folder" in refused.stderr
