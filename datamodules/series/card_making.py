"""How the cards of measured series are made. Imports no torch."""

from __future__ import annotations

from dataclasses import replace

from integrand.spec import SeriesSpec

from ..card import DataCard, PackagedFile, Source

_HERE = "integrand.datamodules.series"


def package_card(
    name: str, class_name: str, title: str, spec: SeriesSpec, digest: str, source: Source, **rest: object
) -> DataCard:
    """A set read from the archive of a package, or from that package where it is installed."""
    card = DataCard(
        name=name,
        class_name=class_name,
        module=f"{_HERE}.{name.replace('-', '_')}",
        title=title,
        group="series",
        spec=spec,
        counts={},
        licence="",
        reference="",
        encoding="arrays",
        digests={"content": digest},
        formats=(source.format, "npz"),
        folders=(name, class_name),
        packaged=(_inside(source),),
        sources=(source,),
    )
    return replace(card, **rest)  # type: ignore[arg-type]  # fields by name


def _inside(source: Source) -> PackagedFile:
    """The same files where the package is installed."""
    package, _, folder = source.prefix.partition("/")
    return PackagedFile(package, folder, source.format)


def wheel(package: str, folder: str, format: str, archive: tuple[str, str] | str, megabytes: float) -> Source:
    """A wheel; its name follows from the package unless given with its digest."""
    name, _, version = package.partition("==")
    usual = f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    by_name = {usual: archive} if isinstance(archive, str) else dict([archive])
    return Source("pip", format, package, folder, sha256=by_name, megabytes=megabytes)
