"""Every recorded number is declared once, and whoever compares reads the direction there."""

import pytest

from integrand import quantities
from integrand.comparison.measures import COSTS, SAMPLES_PER_SECOND, choose_metric
from integrand.errors import UsageError
from integrand.record import RunRecord


@pytest.fixture(autouse=True)
def _forget(monkeypatch):
    monkeypatch.setattr(quantities, "_own", {})


def record(name, value=1.0, **fields):
    return RunRecord("ab" * 16, status="FINISHED", metrics={name: value}, **fields)


@pytest.mark.parametrize(
    ("names", "mode"),
    [
        (
            (
                "ece",
                "brier",
                "crps",
                "nlpd",
                "energy_drift",
                "nll",
                "bpd",
                "rmse",
                "w2",
                "FD-1a2b3c4d",
                "loss",
            ),
            "min",
        ),
        (("acc", "elbo", "auroc", "r2", "precision-1a2b3c4d", "coverage", "log_likelihood"), "max"),
    ],
)
def test_comparison_reads_the_declared_direction(names, mode):
    for name in names:
        for recorded in (f"final/test_{name}", f"best/val_{name}", f"test/{name}", name):
            assert choose_metric([record(recorded)], recorded).mode == mode, recorded


@pytest.mark.parametrize(
    ("recorded", "name"),
    [
        ("solver/test_nfe_forward", "nfe*"),
        ("cost/epoch_seconds", "*seconds"),
        ("train/loss_step", "loss_step"),  # not a loss among others
        ("final/test_w2_floor", "*_floor"),  # not a distance of samples
        ("final/test_coverage_90", "coverage_*"),  # of intervals, not of samples
        ("test/acc", "acc"),
    ],
)
def test_the_most_particular_name_holds(recorded, name):
    assert quantities.find(recorded).name == name


def test_percent_and_unit_are_shown():
    assert choose_metric([record("final/test_acc")]).label == "final/test_acc (%)"
    assert choose_metric([record("final/test_nll")], "final/test_nll").label == "final/test_nll (nats)"


def test_of_costs_only_a_rate_is_better_the_larger_it_is():
    assert [cost for cost in COSTS if not cost.smaller_is_better] == [SAMPLES_PER_SECOND]


def test_own_declaration_travels_in_the_record():
    quantities.declare("energy_gap", "larger", unit="J")
    told = quantities.own(["val/energy_gap", "val/acc"])
    assert list(told) == ["energy_gap"]
    run = RunRecord.from_json(record("final/test_energy_gap", quantities=told).to_json())
    quantities._own.clear()  # another process compares
    metric = choose_metric([run], "final/test_energy_gap")
    assert (metric.mode, metric.label) == ("max", "final/test_energy_gap (J)")


def test_undeclared_metric_is_one_line_with_the_remedy():
    with pytest.raises(UsageError, match=r'quantities\.declare\("gap", "larger"\)') as caught:
        choose_metric([record("final/test_gap")], "final/test_gap")
    assert caught.value.exit_code == 2
    assert "--mode" in caught.value.remedy
    assert choose_metric([record("final/test_gap")], "final/test_gap", "min").mode == "min"
    # records that were written before metrics were declared
    old = record("final/val_gap", monitor={"name": "val/gap", "mode": "max"})
    assert choose_metric([old], "final/val_gap").mode == "max"


def test_a_number_that_only_describes_is_not_compared():
    with pytest.raises(UsageError, match="neither a larger nor a smaller"):
        choose_metric([record("final/test_temperature")], "final/test_temperature")


def test_contradictions_are_refused():
    with pytest.raises(UsageError, match="declared already: larger is better"):
        quantities.declare("val/acc", "smaller")
    with pytest.raises(UsageError, match="cannot be better 'up'"):
        quantities.declare("mine", "up")
    runs = [
        record("final/test_mine", quantities={"mine": {"name": "mine", "direction": way}})
        for way in ("larger", "smaller")
    ]
    with pytest.raises(UsageError, match="disagree"):
        choose_metric(runs, "final/test_mine")
