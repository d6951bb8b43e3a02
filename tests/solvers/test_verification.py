"""verify-solve: the errors it reports are the true ones, and its verdict follows them."""

import json
import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from integrand.cli.main import main
from integrand.solvers import RK4, Dopri5, TorchDiffEq
from integrand.solvers.verification import Recorded, recorded_solves, refined, verify


def test_errors_are_the_true_ones(fields):
    """Errors of RK4 on a rotation, whose solution and gradient are known."""
    field = fields["oscillator"](5.0)
    y0 = torch.tensor([[1.0, 0.0], [0.5, -2.0]], dtype=torch.float64)
    report = verify(Recorded(RK4(num_steps=10), field, y0, [0.0, 2.0]))
    end = RK4(num_steps=10).solve(field, y0, [0.0, 2.0]).ys[-1]
    c, s = math.cos(10), math.sin(10)
    exact = y0 @ torch.tensor([[c, -s], [s, c]], dtype=torch.float64)
    assert report.used.solution_error == pytest.approx(((end - exact).norm() / exact.norm()).item(), rel=1e-4)
    assert not report.used.adequate
    assert [a.solver for a in report.tighter] == ["rk4 num_steps=20", "rk4 num_steps=40"]
    errors = [report.used, *report.tighter]
    for coarse, fine in pairwise(errors):
        assert coarse.solution_error / fine.solution_error == pytest.approx(16, rel=0.5)  # order 4, coarse
        assert fine.gradient_error < coarse.gradient_error
    assert report.remedy == next(a.solver for a in report.tighter if a.adequate)
    assert report.change < 1e-7


def test_an_adequate_tolerance_is_called_so(tanh_net, state):
    report = verify(Recorded(Dopri5(rtol=1e-6, atol=1e-6), tanh_net, state, [0.0, 1.0]))
    assert report.used.adequate
    assert report.remedy == ""


def test_an_inaccurate_adjoint_is_found_out(fields):
    """The state is fine, the adjoint's gradient is not: both are looked at."""
    field = fields["linear"](-5.0)
    solver = TorchDiffEq(rtol=1e-5, atol=1e-5, gradient="adjoint")
    with pytest.warns(UserWarning, match="missed the initial state"):
        report = verify(Recorded(solver, field, torch.ones(2, 1, dtype=torch.float64), [0.0, 5.0]), 0)
    assert report.used.gradient_error > 0.5
    assert not report.used.adequate


def test_times_of_each_sample_are_recorded_and_verified(fields):
    """exp(rate T) with a T of each sample's own."""
    network = nn.Module()
    network.solver = Dopri5(rtol=1e-6, atol=1e-6)
    times = torch.tensor([[0.0, 0.5, 1.0], [1.0, 2.0, 4.0]], dtype=torch.float64)
    with recorded_solves(network) as found:
        network.solver.solve(fields["linear"](), torch.ones(2, 1, dtype=torch.float64), times)
    report = verify(found[0], 0)
    assert report.used.adequate
    assert report.used.worst_sample < 1e-5


def test_tighter_leaves_the_original_alone():
    solver = Dopri5(rtol=1e-3, atol=1e-4)
    finer = refined(solver)
    assert (finer.rtol, finer.atol) == (pytest.approx(1e-4), pytest.approx(1e-5))
    assert solver.rtol == 1e-3


def test_recording_finds_solvers_and_lets_go(tanh_net, state):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.field = tanh_net
            self.solver = Dopri5()

        def forward(self, x):
            return self.solver.solve(self.field, x, [0.0, 1.0]).ys[-1]

    net = Net()
    with recorded_solves(net) as found:
        net(state)
    net(state)
    assert len(found) == 1
    assert torch.equal(found[0].y0, state)
    assert "solve" not in vars(net.solver)


@pytest.mark.slow
def test_command_on_a_checkpoint(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    fit = [
        "fit",
        "--data",
        "Digits",
        "--model",
        "NeuralODE",
        "--model.channels",
        "4",
        "--trainer.max_epochs",
        "1",
    ]
    assert main([*fit, "--trainer.limit_train_batches", "2"]) == 0
    checkpoint = next(tmp_path.rglob("best.ckpt"))
    capsys.readouterr()
    code = main(["verify-solve", str(checkpoint), "--samples", "4", "--json", "report.json"])
    report = json.loads((tmp_path / "report.json").read_text())
    assert code == (0 if report["solves"][0]["adequate"] else 3)
    assert report["solves"][0]["used"]["nfe"] > 0
    assert 0 <= report["predictions_changed"] <= 1
    assert "gradient error" in capsys.readouterr().out
    assert main(["verify-solve", "nothing.ckpt"]) == 2
    resnet = [*fit[:4], "ResNet", *fit[5:]]
    assert main([*resnet, "--trainer.limit_train_batches", "2"]) == 0
    newest = max(tmp_path.rglob("best.ckpt"), key=lambda p: p.stat().st_mtime)
    assert main(["verify-solve", str(newest)]) == 2
    assert "makes no solves" in capsys.readouterr().err


def test_coarser_has_half_the_steps_or_ten_times_the_tolerance():
    assert refined(RK4(num_steps=8), -1).num_steps == 4
    assert refined(RK4(num_steps=1), -1).num_steps == 1
    assert refined(RK4(step_size=0.1), -2).step_size == pytest.approx(0.4)
    other = refined(Dopri5(rtol=1e-4, atol=1e-6), -1)
    assert (other.rtol, other.atol) == pytest.approx((1e-3, 1e-5))
