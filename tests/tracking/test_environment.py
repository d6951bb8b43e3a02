"""What integrand tells MLflow's client by the environment, and that the user's own choice wins."""

import os

import pytest

from integrand.tracking.store.opening import quiet_mlflow

NAMES = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": "false",
    "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD": "false",
}


@pytest.fixture(autouse=True)
def untouched(monkeypatch):
    """Set and deleted by monkeypatch first, so that it also takes back what the function sets."""
    for name in (*NAMES, "DO_NOT_TRACK"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def test_defaults():
    quiet_mlflow()
    assert {name: os.environ[name] for name in NAMES} == NAMES


@pytest.mark.parametrize("name", list(NAMES))
def test_choice_of_the_user_stays(monkeypatch, name):
    monkeypatch.setenv(name, "mine")
    quiet_mlflow()
    assert os.environ[name] == "mine"


def test_mlflow_heeds_the_switches():
    """The names are MLflow's, which would ignore a misspelt one without a word."""
    quiet_mlflow()
    from mlflow.environment_variables import (
        MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD,
        MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD,
    )

    for switch in (MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD, MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD):
        assert switch.is_set()
        assert switch.get() is False
