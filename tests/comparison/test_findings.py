"""What `integrand evaluate` recorded, as a comparison reads it."""

import pytest
from mlflow.tracking import MlflowClient

from integrand.comparison.analysis import compare
from integrand.comparison.measures import choose_metric
from integrand.comparison.records.load import Selection, load
from integrand.comparison.records.store import _is_wanted
from integrand.evaluations.base import Finding
from integrand.evaluations.solver import OtherSolvers
from integrand.tracking.findings import Findings


def test_findings_stand_beside_the_run_or_are_compared_themselves(tmp_path, make_run):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client = MlflowClient(tracking_uri=uri)
    experiment = client.create_experiment("study", f"file://{tmp_path}/artifacts")
    for seed in (0, 1):
        run = client.create_run(experiment, run_name=f"model-{seed}")
        record = make_run("neural-ode", seed, acc=0.9 + 0.01 * seed, solver="rk4 num_steps=2")
        client.log_text(run.info.run_id, record.to_json(), "record.json")
        client.set_terminated(run.info.run_id)
        evaluation = OtherSolvers()
        evaluation._headline = "final/test_acc"
        findings = Findings(evaluation, run.info.run_id, uri)
        for steps, acc in ((1, 0.5), (4, 0.91)):
            name = f"rk4 num_steps={steps}"
            scores = {"final/test_acc": acc + 0.01 * seed, "solver/test_nfe_forward": 4.0 * steps}
            findings.keep(Finding(name, {"solver": name}, scores, {"evaluation_seconds": 1.0}))
    loaded = load(Selection("study", tracking_uri=uri)).records
    metric = choose_metric(loaded)
    (part,) = compare(loaded, metric).parts
    assert [(row.label, row.quality.n) for row in part.rows] == [("neural-ode", 2)]
    beside = {s.evaluated_with: (s.paired.estimate.mean, s.nfe_evaluated.mean) for s in part.sensitivity}
    assert beside["rk4 num_steps=1"] == pytest.approx((-0.4, 4.0))
    assert beside["rk4 num_steps=4"] == pytest.approx((0.01, 16.0))
    loaded = load(Selection("study", tracking_uri=uri, evaluation="solver")).records
    (part,) = compare(loaded, choose_metric(loaded)).parts
    labels = ["neural-ode solver=rk4 num_steps=4", "neural-ode solver=rk4 num_steps=1"]
    assert [(row.label, row.quality.n) for row in part.rows] == [(label, 2) for label in labels]


@pytest.mark.parametrize("name", ["solver", "sensitivity"])
def test_a_store_knows_the_evaluation_by_its_former_name(name):
    tags = {"role": "evaluation", "evaluation": name}
    assert _is_wanted(tags, None)
    assert _is_wanted(tags, "solver")
    assert not _is_wanted(tags, "calibration")
