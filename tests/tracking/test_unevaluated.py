"""Which runs of an experiment still lack an evaluation."""

import pytest
from mlflow.tracking import MlflowClient

from integrand.errors import TrackingError
from integrand.tracking.store.runs import unevaluated


def test_what_was_found_is_not_measured_again(tmp_path):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client = MlflowClient(tracking_uri=uri)
    experiment = client.create_experiment("study", f"file://{tmp_path}/artifacts")

    def made(status="FINISHED", **tags):
        run = client.create_run(experiment, tags={k.replace("__", "."): v for k, v in tags.items()})
        client.set_terminated(run.info.run_id, status)
        return run.info.run_id

    with pytest.raises(TrackingError, match="no run of 'study' has finished"):
        unevaluated("study", ["ood"], uri)
    first, second = made(), made()
    made("FAILED")
    made(role="suite-parent")
    made(role="evaluation", evaluation="ood", mlflow__parentRunId=first)
    made("FAILED", role="evaluation", evaluation="calibration", mlflow__parentRunId=first)
    found = unevaluated("study", ["calibration", "ood"], uri)
    assert found == {first: ["calibration"], second: ["calibration", "ood"]}
    with pytest.raises(TrackingError, match="no experiment 'other'"):
        unevaluated("other", ["ood"], uri)
