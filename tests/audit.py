"""Licences and known weaknesses of what integrand brings along: `python tests/audit.py`, the last step of `make lint`.

Licences are read from what is installed. Weaknesses are asked of the package index, for the releases in docker/*.lock; where it
cannot be reached, knows none, or `pip-audit` is not installed (`make audit` does), that is said, and nothing fails.
"""

import json
import re
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

DOCKER = Path(__file__).resolve().parents[1] / "docker"
EXTRAS = ("gpu", "sweep", "ot")
SECONDS = 60
ALLOWED = re.compile(
    r"MIT|BSD|Apache|ISC|PSF|Python Software Foundation|HPND|CMU|MPL|Mozilla|Unlicense|Zlib|CC0|0BSD|PIL",
    re.IGNORECASE,
)
REFUSED = re.compile(r"(?<!L)A?GPL|Affero|Proprietary|Non-?Commercial", re.IGNORECASE)
JUDGED = {"huey": "MIT, by its LICENSE file", "skops": "MIT, by its LICENSE file"}
"""Those that say nothing of use themselves."""
BY_TORCH = ("cuda-", "nvidia-")
"""Libraries of NVIDIA's that torch's CUDA build asks for; the user's to accept, as with torch itself."""
KNOWN = {}
"""Weaknesses that do not touch what is done here: identifier → reason."""


def brought():
    """Names of all distributions that a user's installation has, integrand with its usual extras."""
    found, left = set(), [("integrand", frozenset(EXTRAS))]
    while left:
        name, extras = left.pop()
        try:
            requires = distribution(name).requires or []
        except PackageNotFoundError:
            continue  # an extra that is not installed here
        found.add(name)
        for text in requires:
            wanted = Requirement(text)
            applies = wanted.marker is None or any(
                wanted.marker.evaluate({"extra": e}) for e in ("", *extras)
            )
            key = wanted.name.lower().replace("_", "-")
            if applies and key not in found:
                left.append((key, frozenset(wanted.extras)))
    return sorted(found)


def licence(name):
    """What a distribution says of its licence, on one line."""
    said = distribution(name).metadata
    told = [c.rpartition(" :: ")[2] for c in said.get_all("Classifier") or [] if c.startswith("License ::")]
    lines = (said.get("License") or "").strip().splitlines()[:1]
    return " / ".join(filter(None, [said.get("License-Expression"), *told, *lines])) or "nothing"


def check_licences(names):
    """Names of distributions whose licence is none of those that go with Apache-2.0, with what they say."""
    bad = {}
    for name in names:
        text = licence(name)
        judged = name in JUDGED or name.startswith(BY_TORCH)
        if not judged and (REFUSED.search(text) or not ALLOWED.search(text)):
            bad[name] = text
    return bad


def weaknesses():
    """Found ones by `package id`, and why there was no answer, empty where there was one."""
    program = Path(sys.executable).with_name("pip-audit")
    if not (program.exists() or shutil.which("pip-audit")):
        return {}, "pip-audit is not installed: make audit"
    command = [
        program if program.exists() else "pip-audit",
        "--disable-pip",
        "--require-hashes",
        "--format",
        "json",
    ]
    command += ["--progress-spinner", "off", "--timeout", "5"]
    for name in ("requirements", "torch-cuda", "tracking"):
        command += ["--requirement", DOCKER / f"{name}.lock"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        answers = json.loads(done.stdout)["dependencies"]
    except subprocess.TimeoutExpired:
        return {}, f"no answer within {SECONDS} s"
    except ValueError:
        return {}, (done.stderr.strip().splitlines() or ["no answer"])[-1][:200]
    if all("skip_reason" in answer for answer in answers):
        return {}, "the index tells no weaknesses"
    found = {
        f"{a['name']} {a['version']} {v['id']}": v["description"] for a in answers for v in a.get("vulns", [])
    }
    return {key: text for key, text in found.items() if key.split()[-1] not in KNOWN}, ""


def main():
    """The exit code: 1 where a licence or a weakness has to be looked at."""
    names = brought()
    bad = check_licences(names)
    print(f"licences: {len(names)} packages, {len(bad)} to look at")
    for name, text in bad.items():
        print(f"  {name}: {text}")
    found, reason = weaknesses()
    print(f"weaknesses: skipped ({reason})" if reason else f"weaknesses: {len(found)} known")
    for key, text in found.items():
        print(f"  {key}: {' '.join(text.split())[:160]}")
    return 1 if bad or found else 0


if __name__ == "__main__":
    sys.exit(main())
