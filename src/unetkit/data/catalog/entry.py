"""An entry of the catalogue: what is known about a public data set, and where it lives."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True)
class File:
    """A file at the home of a data set.

    Attributes:
        url: its address.
        checksum: "sha256:…" or "md5:…", or None where we know none.
        size: bytes, or None where we do not know.
        place: where it lies in the set, with `/`; the last part of the address if left out.
    """

    url: str
    checksum: str | None = None
    size: int | None = None
    place: str = ""

    @property
    def name(self) -> str:
        """Where it lies in the set."""
        return self.place or unquote(urlsplit(self.url).path.rsplit("/", 1)[-1])

    @property
    def host(self) -> str:
        """The server it lives on."""
        return urlsplit(self.url).hostname or self.url


@dataclass(frozen=True)
class Entry:
    """A public data set. Where a number is not known to us it is None, and said to be unknown.

    Attributes:
        name: what `unet data get` calls it.
        title: a line for people.
        task: what is to be found.
        modality: how the images were taken.
        licence: the terms of its home, as known to us.
        citation: the paper to cite, with its DOI or address.
        home: the page to read before using it.
        layout: the arrangement that turns its files into ours (`arrangements.ARRANGEMENTS`).
        split: the rule that divides it, in a sentence.
        images: labelled images.
        pixels: their sizes.
        megabytes: to be downloaded, about.
        files: what is fetched; further files may be listed in these.
        registration: how to obtain it where it is not given away freely, else None.
    """

    name: str
    title: str
    task: str
    modality: str
    licence: str
    citation: str
    home: str
    layout: str
    split: str
    images: int | None = None
    pixels: str = "various sizes"
    megabytes: float | None = None
    files: tuple[File, ...] = ()
    registration: str | None = None

    @property
    def size(self) -> str:
        """Images, pixels and download in words."""
        images = f"{self.images} images" if self.images else "images of unknown number"
        megabytes = self.megabytes or 0
        download = f"about {megabytes:.0f} MB" if megabytes else "download of unknown size"
        if megabytes >= 1000:
            download = f"about {megabytes / 1000:.1f} GB"
        return f"{images}, {self.pixels}, {download}"


def words(entry: Entry) -> str:
    """Say in a few lines what a data set is, and what its owners ask of those who use it."""
    lines = [
        f"{entry.name}: {entry.title}",
        f"task: {entry.task} ({entry.modality})",
        f"size: {entry.size}",
        f"split: {entry.split}",
        f"licence: {entry.licence}",
        f"cite: {entry.citation}",
        f"home: {entry.home}",
    ]
    return "\n".join([*lines, *([f"to obtain: {entry.registration}"] * bool(entry.registration))])
