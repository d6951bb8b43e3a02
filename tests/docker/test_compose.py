"""What the compose stack promises, read from its YAML; `make docker-check` brings it up."""

import http.server
import os
import re
import shutil
import socket
import ssl
import stat
import subprocess
import threading
import time
import urllib.request
from pathlib import Path

import pytest
import yaml

DOCKER = Path(__file__).resolve().parents[2] / "docker"
STACK = yaml.safe_load((DOCKER / "compose.yaml").read_text())
SERVICES = STACK["services"]
SECRETS = {
    *("POSTGRES_PASSWORD", "S3_ACCESS_KEY", "S3_SECRET_KEY"),
    *("MLFLOW_SECRET_KEY", "ADMIN_PASSWORD", "TRAINER_PASSWORD"),
}


def strings(node):
    """Every string below a node of YAML."""
    if isinstance(node, dict):
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from strings(child)
    else:
        yield str(node)


def test_services():
    assert set(SERVICES) == {"db", "store", "tracking", "proxy", "trainer"}
    # `up` starts the server only
    assert SERVICES["trainer"]["profiles"] == ["train"]
    assert SERVICES["proxy"]["profiles"] == ["tls"]


@pytest.mark.parametrize("name", ["db", "store", "proxy"])
def test_foreign_images_are_pinned_by_tag_and_digest(name):
    default = re.fullmatch(r"\$\{\w+_IMAGE:-(.+)\}", SERVICES[name]["image"]).group(1)
    assert re.fullmatch(r"[\w./-]+:\d[\w.-]+@sha256:[0-9a-f]{64}", default), default


@pytest.mark.parametrize("name", ["tracking", "trainer"])
def test_own_images_are_built_from_this_checkout(name):
    build = SERVICES[name]["build"]
    assert build["target"] in ("tracking", "integrand")
    assert (DOCKER / build["context"] / build["dockerfile"]).is_file()
    dockerfile = (DOCKER / "Dockerfile").read_text()
    assert f"AS {build['target']}\n" in dockerfile
    # what the environment sets reaches the build; null leaves the default of the Dockerfile
    assert all(f"ARG {argument}" in dockerfile for argument in build["args"])
    assert build["args"]["BASE"] is None


def test_no_secret_has_a_default():
    used = set()
    for text in strings(SERVICES):
        for name, rest in re.findall(r"\$\{(\w+)([^}]*)\}", text):
            if name.endswith(("PASSWORD", "KEY")):
                used.add(name)
                assert rest.startswith(":?"), f"{name} has a default or may be empty"
                assert "docker-secrets" in rest, f"{name}: the message does not say what to do"
    assert used == SECRETS


def test_no_secret_is_written_down():
    """Every environment value that is a password or key comes from a variable."""
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|SECRET|_KEY", name):
                assert re.fullmatch(r"\$\{\w+:\?[^}]+\}", value), f"{name}: {value}"


def test_only_server_and_proxy_are_published_and_on_loopback_unless_told():
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert set(published) == {"tracking", "proxy"}
    assert all(port.startswith("127.0.0.1:") for port in published["tracking"])
    assert all(port.startswith("${TLS_ADDRESS:-127.0.0.1}:") for port in published["proxy"])
    assert not any("network_mode" in service for service in SERVICES.values())


def test_database_and_store_are_seen_by_the_server_only():
    assert STACK["networks"]["storage"] == {"internal": True}
    inside = {name for name, service in SERVICES.items() if "storage" in service["networks"]}
    assert inside == {"db", "store", "tracking"}
    assert SERVICES["db"]["networks"] == SERVICES["store"]["networks"] == ["storage"]


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.mark.skipif(shutil.which("caddy") is None, reason="needs caddy")
def test_the_proxy_speaks_tls_and_passes_the_name_on(tmp_path):
    """The server tells by the name in the request whether it is meant."""
    heard = []

    class Upstream(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            heard.append(self.headers["Host"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *said):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Upstream)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = free_port()
    settings = {
        "TLS_NAME": f"localhost:{port}",
        "TLS_UPSTREAM": f"127.0.0.1:{server.server_port}",
        "XDG_DATA_HOME": str(tmp_path),
        "HOME": str(tmp_path),
    }
    command = ["caddy", "run", "--config", DOCKER / "Caddyfile", "--adapter", "caddyfile"]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, env=os.environ | settings, stdout=log, stderr=log)
    try:
        trusted = tmp_path / "caddy/pki/authorities/local/root.crt"
        deadline = time.monotonic() + 60
        answer = None
        while answer is None:
            try:
                context = ssl.create_default_context(cafile=trusted)
                answer = urllib.request.urlopen(f"https://localhost:{port}/", context=context, timeout=10)
            except OSError:  # not up yet
                assert process.poll() is None, (tmp_path / "log").read_text()
                assert time.monotonic() < deadline, (tmp_path / "log").read_text()
                time.sleep(0.2)
        assert answer.status == 200
        assert answer.headers["Strict-Transport-Security"]
        assert heard == [f"localhost:{port}"]
        with pytest.raises(OSError, match=r"reset|400|Bad Request|closed|HTTP"):
            urllib.request.urlopen(f"http://localhost:{port}/", timeout=10)
        # as root it would make this machine trust its authority
        assert "installing root certificate" not in (tmp_path / "log").read_text()
    finally:
        process.terminate()
        process.wait(20)
        server.shutdown()


def test_keys_of_the_store_stay_in_the_server():
    text = " ".join(strings(SERVICES["trainer"]))
    for name in ("S3_", "POSTGRES", "ADMIN", "MLFLOW_SECRET_KEY"):
        assert name not in text
    # artifacts go through the server, so clients need no keys
    assert '"--serve-artifacts"' in (DOCKER / "tracking_server.py").read_text()


def test_server_asks_for_passwords_checks_host_names_and_runs_no_jobs():
    environment = SERVICES["tracking"]["environment"]
    assert environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
    hosts = environment["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    assert {"tracking:5000", "localhost:*", "127.0.0.1:*"} <= set(hosts)
    assert "*" not in hosts
    source = (DOCKER / "tracking_server.py").read_text()
    assert '"--app-name", "basic-auth"' in source
    assert "--disable-security-middleware" not in source


def test_health_checks_leave_time_to_start():
    """MLflow took 15-45 s to start on a busy machine; with 30 s the container was called unhealthy."""
    for name in ("db", "store", "tracking"):
        seconds = int(SERVICES[name]["healthcheck"]["start_period"].removesuffix("s"))
        assert seconds >= 120, name
    assert SERVICES["tracking"]["depends_on"] == {
        "db": {"condition": "service_healthy"},
        "store": {"condition": "service_healthy"},
    }
    assert SERVICES["trainer"]["depends_on"] == {"tracking": {"condition": "service_healthy"}}


def test_store_sends_nothing_home_and_does_not_preallocate():
    """SeaweedFS reports statistics unless told not to; its image preallocates gigabytes per bucket."""
    command = SERVICES["store"]["command"].split()
    assert "-master.telemetry=false" in command
    assert "-master.volumePreallocate=false" in command


def test_gpus_only_in_the_override():
    """On a host without GPUs a reservation stops the container from starting."""
    assert "deploy" not in SERVICES["trainer"]
    assert "nvidia" not in (DOCKER / "compose.yaml").read_text().lower()
    override = yaml.safe_load((DOCKER / "compose.gpu.yaml").read_text())["services"]
    assert set(override) == {"trainer"}
    (device,) = override["trainer"]["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]
    assert override["trainer"]["build"]["args"] == {"FLAVOUR": "cuda"}


def test_data_lies_in_volumes():
    for name in ("db", "store"):
        (mount,) = SERVICES[name]["volumes"]
        assert mount.split(":")[0] in STACK["volumes"]


def test_example_settings_name_every_secret_and_give_none():
    lines = (DOCKER / ".env.example").read_text().splitlines()
    values = dict(line.split("=", 1) for line in lines if line and line[0] != "#")
    assert {name for name in values if name.endswith(("PASSWORD", "KEY"))} == SECRETS
    assert all(values[name] == "" for name in SECRETS)
    used = {name for text in strings(SERVICES) for name in re.findall(r"\$\{(\w+)", text)}
    assert set(values) - {"COMPOSE_PROJECT_NAME"} <= used, "a setting that nothing reads"


def make_secrets(target):
    script = DOCKER / "make-secrets.sh"
    return subprocess.run(["sh", script, target], capture_output=True, text=True, check=False)


def test_secrets_are_random_long_private_and_written_once(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    assert make_secrets(first).returncode == 0
    assert make_secrets(second).returncode == 0
    found = []
    for path in (first, second):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        values = dict(
            line.split("=", 1) for line in path.read_text().splitlines() if "=" in line and line[0] != "#"
        )
        assert all(re.fullmatch("[0-9a-f]{48}", values[name]) for name in SECRETS)
        found += [values[name] for name in SECRETS]
    assert len(set(found)) == 2 * len(SECRETS)
    before = first.read_text()
    again = make_secrets(first)
    assert again.returncode == 1
    assert "exists" in again.stderr
    assert first.read_text() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["first", "second"]


def test_secrets_are_never_committed():
    assert "/docker/.env" in (DOCKER.parent / ".gitignore").read_text().splitlines()


def test_scripts_can_be_run_and_parse():
    for name in ("build.sh", "check.sh", "make-secrets.sh", "tracking_server.py"):
        assert os.access(DOCKER / name, os.X_OK), name
    for name in ("build.sh", "make-secrets.sh"):
        subprocess.run(["sh", "-n", DOCKER / name], check=True)
    subprocess.run(["bash", "-n", DOCKER / "check.sh"], check=True)


def test_build_refuses_an_unknown_flavour():
    done = subprocess.run(["sh", DOCKER / "build.sh", "rocm"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "cuda|cpu|tracking" in done.stderr
