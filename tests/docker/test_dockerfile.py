"""What the image's recipe promises, read from its text; `make docker-check` builds and runs it."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DIGEST = re.compile(r"^[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}$")


def read_stages():
    """The instructions of each stage, continuation lines joined, comments dropped; '' is before the first FROM."""
    text = "\n".join(
        line for line in (ROOT / "docker/Dockerfile").read_text().splitlines() if not line.startswith("#")
    )
    stages, name = {"": []}, ""
    for instruction in filter(None, text.replace("\\\n", " ").splitlines()):
        word, _, rest = instruction.partition(" ")
        if word == "FROM":
            _, _, name = rest.partition(" AS ")
            stages[name] = []
        stages[name].append((word, " ".join(rest.split())))
    return stages


STAGES = read_stages()


def of(stage, word):
    return [rest for w, rest in STAGES[stage] if w == word]


def test_base_image_is_an_argument_pinned_by_digest():
    (base,) = of("", "ARG")
    name, _, default = base.partition("=")
    assert name == "BASE"
    assert DIGEST.match(default), default
    assert default.startswith("python:3.11-slim-bookworm@")
    starts = {stage: rest[0][1].split(" AS ")[0] for stage, rest in STAGES.items() if stage}
    assert starts.pop("base") == "${BASE}"
    assert set(starts.values()) <= set(STAGES) - {""}, "a stage starts from an image that is not pinned"


LOCKS = ("requirements", "torch-cuda", "tracking", "sbom")
HASHED = "pip install --no-deps --require-hashes --requirement"


@pytest.mark.parametrize("stage", ["dependencies", "tracking", "sbom"])
def test_files_are_told_by_their_hashes_before_any_source(stage):
    """All but torch of another index than PyPI, whose version is that of constraints.txt."""
    words = STAGES[stage]
    installs = [i for i, (word, rest) in enumerate(words) if word == "RUN" and "pip install" in rest]
    assert installs
    for i in installs:
        found = words[i][1].count("pip install")
        assert found == words[i][1].count(HASHED) + words[i][1].count("torch --constraint constraints.txt")
        assert not re.search(r"[\w\]]==\d", words[i][1]), "a version is stated twice"
    copied = {name for word, rest in words[: installs[-1]] if word == "COPY" for name in rest.split()[:-1]}
    allowed = {"constraints.txt", *(f"docker/{name}.lock" for name in LOCKS)}
    assert copied <= allowed, "a change of the source installs everything anew"
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "!docker/*.lock" in ignored


def locked(name):
    """Releases of a lock file by name."""
    text = (ROOT / f"docker/{name}.lock").read_text()
    blocks = re.findall(r"^([\w.-]+)==(\S+)((?: \\\n    --hash=sha256:[0-9a-f]{64})+)$", text, re.MULTILINE)
    assert len(blocks) == text.count("=="), "a release without a hash"
    assert "//" not in text, "an address: whoever builds has an index of their own"
    return {name: version for name, version, _ in blocks}


def pins():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    stated = [line.split("#")[0].strip().split("==") for line in lines if "==" in line]
    return {name.lower().replace("_", "-"): version for name, version in stated}


@pytest.mark.parametrize("name", ["requirements", "torch-cuda", "tracking"])
def test_locks_have_the_versions_of_the_constraints(name):
    """Else `make docker-lock` was forgotten. CUDA's wheels and triton are pinned by torch's own metadata."""
    found, stated = locked(name), pins()
    free = {n for n in found if re.match(r"cuda-|nvidia-(?!ml-py)|triton", n)}
    assert {n: v for n, v in found.items() if n not in free} == {n: stated[n] for n in found if n not in free}
    assert not free or name == "torch-cuda"


def names(requirements):
    return {re.match(r"[\w.-]+", r).group().lower().replace("_", "-") for r in requirements}


def test_the_locks_have_all_that_is_asked_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = list(project["dependencies"])
    for extra in ("gpu", "sweep", "ot"):
        wanted += project["optional-dependencies"][extra]
    assert names(wanted) <= locked("requirements").keys() | locked("torch-cuda").keys()
    assert {"mlflow", "flask-wtf", "psycopg2-binary", "boto3"} <= locked("tracking").keys()
    assert "torch" in locked("torch-cuda")
    assert "torch" not in locked("requirements")


def test_the_image_holds_a_list_of_what_is_in_it():
    (copied,) = of("integrand", "COPY")
    assert copied == "--from=sbom /sbom.cdx.json /usr/local/share/integrand/"
    assert any("cyclonedx-py environment" in rest for rest in of("sbom", "RUN"))


def test_source_reaches_the_image_only_as_a_wheel_without_dependencies():
    (install,) = [rest for rest in of("installed", "RUN") if "pip install" in rest]
    assert "--no-deps" in install
    assert "from=wheel" in install


def test_flavour_stands_in_the_line_that_installs_torch():
    """The content of a secret pip.conf is not part of the cache key: without it cuda gets the cpu layer."""
    (torch,) = [rest for rest in of("dependencies", "RUN") if "pip install torch --constraint" in rest]
    assert "${FLAVOUR}" in torch
    assert "${TORCH_INDEX}" in torch
    assert "https://download.pytorch.org/whl/cpu" in torch
    assert "FLAVOUR=cuda" in of("dependencies", "ARG")


@pytest.mark.parametrize(
    ("flavour", "cuda", "accepted"),
    [("cpu", None, True), ("cpu", "13.0", False), ("cuda", "13.0", True), ("cuda", None, False)],
)
def test_a_build_of_the_other_flavour_is_refused(tmp_path, flavour, cuda, accepted):
    """The program in the recipe, with a stand-in for torch: pip may find the wrong wheel without an error."""
    (program,) = [p for _, rest in STAGES["dependencies"] for p in re.findall(r'python -c "([^"]+)"', rest)]
    stand_in = f"class version:\n    cuda = {cuda!r}\n__version__ = '1'\n"
    (tmp_path / "torch.py").write_text(stand_in)
    command = [sys.executable, "-c", program.replace("$flavour", flavour)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == accepted, done.stderr
    assert accepted or f"not a {flavour} build" in done.stderr


@pytest.mark.parametrize("stage", ["integrand", "tracking"])
def test_images_run_as_a_number_under_an_init(stage):
    """A name would have to exist in /etc/passwd, and Kubernetes' runAsNonRoot cannot judge it."""
    assert of(stage, "USER") == ["10001:10001"]
    (entry,) = of(stage, "ENTRYPOINT")
    assert entry.startswith('["tini", "--", ')


def test_nothing_is_installed_or_copied_after_the_user_is_set():
    for stage in ("integrand", "tracking"):
        words = [word for word, _ in STAGES[stage]]
        assert not {"RUN", "COPY", "ADD"} & set(words[words.index("USER") :])


def test_any_uid_can_write_where_programs_write():
    environment = " ".join(of("integrand", "ENV"))
    for name in ("HOME", "USER", "XDG_CACHE_HOME", "MPLCONFIGDIR", "TORCHINDUCTOR_CACHE_DIR"):
        assert re.search(rf"\b{name}=", environment), name
    (folders,) = [rest for rest in of("integrand", "RUN") if "chmod" in rest]
    assert "chmod 1777" in folders
    assert of("integrand", "WORKDIR") == ["/workspace"]


def test_artifacts_pass_through_the_server():
    """MLflow's client would else wait minutes for an object store that only the server can reach."""
    environment = " ".join(of("integrand", "ENV"))
    assert "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD=false" in environment
    assert "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD=false" in environment


def test_gpus_are_asked_for_by_the_image():
    environment = " ".join(of("integrand", "ENV"))
    assert "NVIDIA_VISIBLE_DEVICES=all" in environment
    assert "NVIDIA_DRIVER_CAPABILITIES=compute,utility" in environment


@pytest.mark.parametrize("stage", ["integrand", "tracking"])
@pytest.mark.parametrize("label", ["title", "version", "revision", "source", "licenses"])
def test_labels(stage, label):
    (labels,) = of(stage, "LABEL")
    assert f"org.opencontainers.image.{label}=" in labels


def test_secrets_are_mounts_and_never_arguments():
    text = (ROOT / "docker/Dockerfile").read_text()
    assert not re.search(r"(?im)^\s*(ARG|ENV)\b.*(PASSWORD|TOKEN|_KEY)", text)
    for stage in ("dependencies", "tracking", "wheel"):
        for rest in of(stage, "RUN"):
            if re.search(r"pip (install|wheel)", rest):
                assert "--mount=type=secret,id=pipconf" in rest
                assert "--mount=type=secret,id=pipca" in rest


def test_context_is_a_list_of_what_may_enter():
    """What is not named stays out: a database of runs, .git, an .env with passwords, caches."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert lines[0] == "*"
    allowed = {line[1:].rstrip("/") for line in lines if line[0] == "!"}
    assert allowed == {
        *("constraints.txt", "pyproject.toml", "README.md", "LICENSE"),
        *("platform", "modules", "datamodules", "configs"),
        *("docker/tracking_server.py", "docker/*.lock"),
    }
    assert all(list(ROOT.glob(name)) for name in allowed)
    denied = lines[max(i for i, line in enumerate(lines) if line[0] == "!") + 1 :]
    assert {"**/mlflow.db*", "**/integrand-runs", "**/mlartifacts", "**/__pycache__"} <= set(denied)


def test_licence_files_of_the_package_reach_the_build():
    """pip wheel stops where pyproject.toml names a licence file that the context lacks."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    allowed = (ROOT / ".dockerignore").read_text().splitlines()
    for name in [*project["license-files"], project["readme"]]:
        assert f"!{name}" in allowed or f"!{name.split('/')[0]}/" in allowed, name


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="no hadolint; make docker-check installs it")
def test_hadolint():
    command = ["hadolint", "--config", ROOT / "docker/.hadolint.yaml", ROOT / "docker/Dockerfile"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
