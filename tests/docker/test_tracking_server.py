"""The start of the tracking server, without a database: what it writes, and what it says when a setting lacks."""

import configparser
import importlib.util
import io
import stat
from pathlib import Path

import pytest

pytest.importorskip("sqlalchemy")
SCRIPT = Path(__file__).resolve().parents[2] / "docker" / "tracking_server.py"


@pytest.fixture
def server(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("docker_tracking_server", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "CONFIG", tmp_path / "basic_auth.ini")
    monkeypatch.setenv("MLFLOW_AUTH_CONFIG_PATH", "")
    return module


@pytest.mark.parametrize("password", ["0123456789ab", "p@ss/w:rd%41 %%ü"])
def test_auth_file_is_private_and_keeps_the_password_whole(server, monkeypatch, password):
    """Characters that URIs and configparser read specially arrive at the database unchanged."""
    from sqlalchemy import make_url

    monkeypatch.setenv("POSTGRES_PASSWORD", password)
    server._write_auth_config(server._database())
    assert stat.S_IMODE(server.CONFIG.stat().st_mode) == 0o600
    written = configparser.ConfigParser()
    written.read(server.CONFIG, encoding="utf-8")
    url = make_url(written["mlflow"]["database_uri"])
    assert (url.password, url.host, url.database) == (password, "db", "mlflow")
    assert "admin_password" not in written["mlflow"]  # MLflow gets the account, not its password
    assert written["mlflow"]["default_permission"] == "READ"


def test_missing_setting_is_one_line_with_a_remedy(server, monkeypatch):
    monkeypatch.delenv("POSTGRES_PASSWORD", raising=False)
    with pytest.raises(SystemExit, match=r"POSTGRES_PASSWORD is not set; .*make-secrets"):
        server._database()


class Accounts:
    """The four calls of MLflow's account store that the script makes."""

    def __init__(self):
        self.passwords, self.admins = {}, set()

    def has_user(self, name):
        return name in self.passwords

    def create_user(self, name, password, is_admin):
        self.passwords[name] = password
        if is_admin:
            self.admins.add(name)

    def authenticate_user(self, name, password):
        return self.passwords.get(name) == password

    def update_user(self, name, password):
        self.passwords[name] = password


def test_accounts_are_made_once_and_follow_the_settings(server):
    accounts = Accounts()
    server._set_account(accounts, "admin", "first password", is_admin=True)
    server._set_account(accounts, "trainer", "other password", is_admin=False)
    assert accounts.admins == {"admin"}
    server._set_account(accounts, "trainer", "third password", is_admin=False)
    assert accounts.passwords == {"admin": "first password", "trainer": "third password"}


def test_a_short_password_is_one_line(server):
    accounts = Accounts()
    with pytest.raises(SystemExit, match="alice has 5 characters; it needs 12"):
        server._set_account(accounts, "alice", "short", is_admin=False)
    assert not accounts.passwords


def test_password_can_be_piped_in(server, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("a long password\nignored\n"))
    assert server._ask_password("alice") == "a long password"
