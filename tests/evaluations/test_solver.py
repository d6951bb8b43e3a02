"""The test of a model under other solvers: the same numbers as `integrand test`, and the model as it was."""

import pytest
import torch
from lightning.pytorch import Trainer

from integrand.datamodules.images.digits import Digits
from integrand.errors import UsageError
from integrand.evaluations import passes
from integrand.evaluations.solver import OtherSolvers
from integrand.modules.continuous.neural_ode import NeuralODE
from integrand.modules.discrete.resnet import ResNet
from integrand.solvers import RK4, Dopri5


@pytest.fixture(scope="module")
def data():
    return Digits(train_limit=64, batch_size=128)


@pytest.fixture
def model(data):
    torch.manual_seed(0)
    made = NeuralODE(data.spec, channels=4, solver=RK4(num_steps=2)).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(2)  # nonlinear enough for the steps to matter
    return made


def test_a_pass_gives_what_the_trainer_tests(model, data):
    trainer = Trainer(
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        accelerator="cpu",
        enable_model_summary=False,
    )
    (expected,) = trainer.test(model, datamodule=data, verbose=False)
    found = passes.tested(model, data)
    assert {f"test/{name}": value for name, value in found.scores.items()} == pytest.approx(
        expected, rel=1e-6
    )
    # twice two steps of four evaluations would be sixteen: a metric that is not reset would not show here
    assert found.recorded()["solver/test_nfe_forward"] == 8
    assert passes.tested(model, data).scores == pytest.approx(found.scores, rel=1e-12)


def test_finer_steps_cost_more_and_converge(model, data):
    found = list(OtherSolvers(refine=[-1, 0, 3, 4]).measure(model, data))
    assert [f.settings["solver"] for f in found] == [f"rk4 num_steps={n}" for n in (1, 2, 16, 32)]
    assert [f.quantities["solver/test_nfe_forward"] for f in found] == [4, 8, 64, 128]
    coarse, own, fine, finest = (f.quantities["final/test_loss"] for f in found)
    # an error of order four in the step: the last halving moves the loss far less than the first
    assert abs(finest - fine) < 0.05 * abs(own - coarse)


def test_the_model_keeps_its_solver_whatever_happens(model, data):
    own = model.net.dynamics.solver
    given = [
        "{class_path: Dopri5, init_args: {max_nfe: 3}}",
        {"class_path": "Euler", "init_args": {"num_steps": 2}},
    ]
    failed, other = OtherSolvers(solvers=given).measure(model, data)
    assert "final/test_acc" not in failed.quantities
    assert failed.error
    assert other.settings == {"solver": "euler num_steps=2"}
    assert model.net.dynamics.solver is own


def test_what_it_does_not_fit(data):
    assert "no configurable ODE solver" in OtherSolvers.fits(ResNet(data.spec, channels=4), data)
    with pytest.raises(UsageError, match="there is no solver 'Eulr', did you mean Euler"):
        OtherSolvers(solvers="Eulr")
    assert OtherSolvers.fits(NeuralODE(data.spec, channels=4, solver=Dopri5()), data) == ""
