"""Processes that do not run the same thing say so before they train."""

import pytest

from integrand.errors import UsageError
from integrand.tracking.callbacks.agreement import description, require_agreement


def test_equal_processes_agree():
    require_agreement([("a", description()), ("b", description())])


def test_what_differs_is_named_with_its_place():
    same = {"torch": "2.13.0", "Python": "3.11.9"}
    found = [
        ("n1", same),
        ("n1", same),
        ("n2", same | {"torch": "2.12.0"}),
        ("n2", same | {"torch": "2.12.0"}),
    ]
    with pytest.raises(UsageError) as error:
        require_agreement(found)
    assert "torch: 2.13.0 on processes 0, 1 (n1), 2.12.0 on processes 2, 3 (n2)" in str(error.value)
    assert "Python" not in str(error.value)
    assert "pip install -c constraints.txt" in str(error.value)


def test_something_that_a_process_lacks():
    with pytest.raises(UsageError, match=r"scipy: 1\.17 on process 0 \(a\), missing on process 1 \(b\)"):
        require_agreement([("a", {"scipy": "1.17"}), ("b", {})])


@pytest.mark.slow
def test_a_fit_whose_processes_differ_never_begins(program):
    """The second process gets another learning rate, as from another copy of a configuration file."""
    (program.folder / "sitecustomize.py").write_text(
        "import os, sys\n"
        "if os.environ.get('LOCAL_RANK') == '1':\n"
        "    sys.argv = [{'0.01': '0.02'}.get(a, a) for a in sys.argv]\n"
    )
    done = program(
        *("fit", "--model", "ResNet", "--data", "Digits", "--trainer.max_epochs", "1"),
        *("--model.optimizer", "SGD", "--model.optimizer.lr", "0.01", "--trainer.accelerator", "cpu"),
        *("--trainer.strategy", "ddp", "--trainer.devices", "2"),
        PYTHONPATH=str(program.folder),
    )
    assert done.returncode == 2, done.stderr
    assert "the processes of this fit differ: model.optimizer.lr: 0.01 on process 0" in done.stderr
    assert "0.02 on process 1" in done.stderr
    run = program.only_run()
    assert run.info.status == "FAILED"
    assert run.data.tags["error_type"] == "UsageError"
    assert "train/loss_step" not in run.data.metrics
