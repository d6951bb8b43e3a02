"""A model from its checkpoint alone, pickled, copied, and what it says of itself."""

import copy
import pickle
import subprocess
import sys
from types import SimpleNamespace

import jsonargparse
import pytest
import torch

from integrand.checkpoints import KEY
from integrand.errors import UsageError
from integrand.modules import NeuralODE, ResNet, defaults, families
from integrand.solvers import RK4, CDESolver, Dopri5, EulerMaruyama
from integrand.spec import Classes, VectorSpec, examples

SPEC = VectorSpec("made-up", Classes(3), 4)
CONFIG = "model: {class_path: NeuralODE, init_args: {channels: 6, solver: {class_path: RK4, init_args: {num_steps: 2}}}}"


@pytest.fixture
def saved(tmp_path):
    """A model, and a checkpoint of it as a fit leaves one."""
    model = NeuralODE(SPEC, channels=6, solver=RK4(num_steps=2)).eval()
    left = {"config": CONFIG, "spec": SPEC.to_dict()}
    torch.save({"state_dict": model.state_dict(), KEY: left}, tmp_path / "best.ckpt")
    return model, tmp_path / "best.ckpt"


def test_a_checkpoint_alone_gives_the_network(saved):
    model, path = saved
    x = torch.randn(5, 4)
    found = NeuralODE.load_from_checkpoint(path).eval()
    assert torch.equal(found(x), model(x))
    assert found.spec == SPEC
    assert found.describe_solver() == ("rk4 num_steps=2", model.describe_solver()[1])


def test_options_take_the_place_of_the_recorded_ones(saved):
    _, path = saved
    found = NeuralODE.load_from_checkpoint(path, solver=RK4(num_steps=5))
    assert found.describe_solver()[0] == "rk4 num_steps=5"


def test_what_is_something_else_is_told(saved, tmp_path):
    model, path = saved
    with pytest.raises(UsageError, match="holds a NeuralODE, which is no ResNet"):
        ResNet.load_from_checkpoint(path)
    with pytest.raises(UsageError, match="do not fit its configuration"):
        NeuralODE.load_from_checkpoint(path, channels=7)
    with pytest.raises(UsageError, match="chanels"):
        NeuralODE.load_from_checkpoint(path, chanels=7)
    own = {"config": CONFIG.replace("NeuralODE", "mine.Net"), "spec": SPEC.to_dict()}
    torch.save({"state_dict": model.state_dict(), KEY: own}, tmp_path / "own.ckpt")
    with pytest.raises(UsageError, match=r"mine\.Net, which is not installed"):
        NeuralODE.load_from_checkpoint(tmp_path / "own.ckpt")


def test_a_pickle_is_the_model_in_another_process(tmp_path):
    model = NeuralODE(SPEC, channels=6).eval()
    x = torch.randn(5, 4)
    torch.save((model(x).detach(), x), tmp_path / "said.pt")
    (tmp_path / "model.pickle").write_bytes(pickle.dumps(model))
    code = (
        "import pickle, torch; model = pickle.load(open('model.pickle', 'rb'));"
        "said, x = torch.load('said.pt'); assert torch.equal(model(x), said);"
        "print(model.configure_optimizers().defaults['lr'], model.describe_solver()[0])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.stdout.split() == ["0.001", "dopri5", "rtol=1e-5", "atol=1e-5"], result.stderr


@pytest.mark.parametrize("family", families(), ids=lambda f: f.family)
def test_every_family_can_be_pickled(family):
    for spec in examples():
        try:
            family.find_task(spec)
            model = family(spec)
        except UsageError:
            continue
        again = pickle.loads(pickle.dumps(model))
        assert again.state_dict().keys() == model.state_dict().keys()
        assert type(again.configure_optimizers()) is type(model.configure_optimizers())
        return
    pytest.fail("no data set fits")


def test_a_function_without_a_name_cannot_be_pickled_but_copied():
    model = NeuralODE(SPEC, channels=6, optimizer=lambda params: torch.optim.SGD(params, lr=0.5))
    assert copy.deepcopy(model).configure_optimizers().defaults["lr"] == 0.5
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(model)


def test_solvers_and_models_say_their_settings():
    assert repr(RK4(num_steps=3)) == "RK4(num_steps=3)"
    assert repr(copy.deepcopy(Dopri5(1e-3, gradient="backprop"))) == "Dopri5(rtol=0.001, gradient='backprop')"
    assert repr(EulerMaruyama(num_steps=7)) == "EulerMaruyama(num_steps=7)"
    assert repr(CDESolver(RK4(num_steps=1))) == "CDESolver(solver=RK4(num_steps=1))"
    model = NeuralODE(SPEC, 6, solver=RK4(num_steps=2))
    assert "data=made-up, channels=6, solver=RK4(num_steps=2)" in repr(model)


def test_a_default_solver_bears_the_name_of_its_class():
    model = NeuralODE(SPEC, channels=6)
    assert repr(model.net.dynamics.solver) == "Dopri5(gradient='backprop')"
    assert model.evaluate(torch.zeros(2, 4))[1][0].solver == "dopri5 rtol=1e-5 atol=1e-5"


def test_a_release_that_renames_the_base_of_lazy_instances_is_understood(monkeypatch):
    monkeypatch.setattr(defaults, "jsonargparse", SimpleNamespace(typing=SimpleNamespace()))
    assert defaults._lazy_base.__wrapped__() is jsonargparse.typing._LazyInitBaseClass
