"""Real sections that anyone may download: by name, with a checksum, kept in the cache folder.

The checksums were published with the addresses: those of 10x Genomics' files in squidpy's registry of data sets, that
of the slide in histolab's. pooch, which also downloads and checks, can neither be stopped within a file nor go on
where a connection broke, and the pictures here have up to two gigabytes.
"""

import hashlib
import shutil
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import BinaryIO
from urllib.error import HTTPError
from urllib.parse import urlsplit

from napari_cmrcnet.common import downloads
from napari_cmrcnet.common.cache import cache_folder
from napari_cmrcnet.common.downloads import BrokenError, ask, chunks, patiently
from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.files import atomic_file, atomic_folder, size_text
from napari_cmrcnet.common.locks import when_free
from napari_cmrcnet.common.progress import REPORT, Job, Progress, in_thread

FAILURES = 4  # after so many in a row without a single new byte, give up
LEFT_OVER = 24 * 3600.0  # seconds after which an unfinished file is nobody's: its process was killed


@dataclass(frozen=True)
class PublicFile:
    """A file of a public section.

    Parameters
    ----------
    name : str
        In the section's folder; a name that ends in ``.tar.gz`` stands for the folder that is unpacked from it.
    urls : tuple of str
        Where it is; the later ones are copies of the first.
    sha256 : str
        Of its content.
    """

    name: str
    urls: tuple[str, ...]
    sha256: str

    def place(self, folder: Path) -> Path:
        """Return the file, or folder, that stands in the section's folder once it was downloaded."""
        return folder / self.name.removesuffix(".tar.gz")


@dataclass(frozen=True)
class PublicPaths:
    """A downloaded section, as `open_section` takes it; ``spots`` is None for a slide without measurements."""

    slide: Path
    spots: Path | None


@dataclass(frozen=True)
class PublicSection:
    """A section that can be downloaded.

    Parameters
    ----------
    key : str
        The name of its folder.
    title : str
        For people.
    source : str
        Who published it, and its licence.
    files : tuple of PublicFile
        The slide first.
    measured : bool
        Whether there are spots with counts, in the layout of Space Ranger.
    """

    key: str
    title: str
    source: str
    files: tuple[PublicFile, ...]
    measured: bool

    @property
    def folder(self) -> Path:
        """The folder it is kept in."""
        return cache_folder("public") / self.key

    @property
    def missing(self) -> tuple[PublicFile, ...]:
        """The files that are still to be downloaded; empty once the section is complete."""
        return tuple(file for file in self.files if not file.place(self.folder).exists())

    @property
    def paths(self) -> PublicPaths:
        """Where slide and spots are, once it was downloaded."""
        return PublicPaths(self.folder / self.files[0].name, self.folder if self.measured else None)


def _visium(sample: str, title: str, image: str, counts: str, spatial: str) -> PublicSection:
    places = (
        f"https://cf.10xgenomics.com/samples/spatial-exp/1.1.0/{sample}/{sample}_",
        f"https://scverse-exampledata.s3.amazonaws.com/squidpy/10x_genomics/{sample}/{sample}_",
    )
    sums = {"image.tif": image, "filtered_feature_bc_matrix.h5": counts, "spatial.tar.gz": spatial}
    files = tuple(PublicFile(name, tuple(place + name for place in places), sums[name]) for name in sums)
    return PublicSection(sample, title, "10x Genomics, CC BY 4.0", files, measured=True)


_SECTIONS = (
    _visium(
        "V1_Breast_Cancer_Block_A_Section_1",
        "Visium human breast cancer",
        "73a94ca956d1b5c027dcaf1ac42c15fed4d4a12eefee4b4b597e62f34cc5959e",
        "b3cbb6ead60afad848ebcc07a34835613d9d2d79e416ad8300b210d9de584b65",
        "415530a9d31172f63fd358d5d1cefb0798698ef9c0e614f52825894cd45c61bf",
    ),
    _visium(
        "V1_Human_Lymph_Node",
        "Visium human lymph node",
        "19462aa8f74ed6032738251e2f56931be9047de58bab6ca0373af385aae2ff03",
        "86fd533eb907450e7125b9820183a0ca73776eeafcc5eddae5695b6aabfd9139",
        "812808883366ff9623dc8354847a7211b0d922b2bfc4c9359d6e12e993ea6a73",
    ),
    PublicSection(
        "CMU-1-Small-Region",
        "CMU-1 small region",
        "OpenSlide test data, CC0",
        (
            PublicFile(
                "CMU-1-Small-Region.svs",
                ("https://openslide.cs.cmu.edu/download/openslide-testdata/Aperio/CMU-1-Small-Region.svs",),
                "ed92d5a9f2e86df67640d6f92ce3e231419ce127131697fbbce42ad5e002c8a7",
            ),
        ),
        measured=False,
    ),
)
PUBLIC_SECTIONS = {section.title: section for section in _SECTIONS}


def download_size(section: PublicSection) -> int:
    """Ask how many bytes of a section are still to be downloaded; 0 once it is complete.

    Raises
    ------
    UserError
        If the network or the site cannot be reached.
    """
    return sum(_sizes(section).values())


def download(section: PublicSection) -> Job[PublicPaths]:
    """Download what of a section is missing.

    Each file appears whole and checked, or not at all. Cancelled or failed, the files that were complete are kept.

    Parameters
    ----------
    section : PublicSection
        Of `PUBLIC_SECTIONS`.

    Returns
    -------
    PublicPaths
        Slide and spots.

    Raises
    ------
    UserError
        If the network or the site cannot be reached, the disk is full, or a file is not the published one.
    """
    yield Progress(f"Asking for {section.title}", 0, 0)
    folder = section.folder
    with (yield from when_free(folder)):
        yield from _download_missing(section, folder)
    return section.paths


def _download_missing(section: PublicSection, folder: Path) -> Job[None]:
    sizes = yield from in_thread(lambda: _sizes(section), Progress(f"Asking for {section.title}", 0, 0))
    total = sum(sizes.values())
    folder.mkdir(parents=True, exist_ok=True)
    _remove_left_over(folder)
    free = shutil.disk_usage(folder).free
    if total > free:
        raise UserError(
            f"{section.title} has {size_text(total)}, but {folder} has room for {size_text(free)}; free some space, or "
            "name a folder on another disk in the environment variable CMRCNET_CACHE."
        )
    before = 0
    for file, size in sizes.items():
        for received in _download(section, file, size):
            yield _progress(section, before + received, total)
        before += size
        if file.place(folder) != folder / file.name:
            yield Progress(f"Unpacking {file.name}", 0, 0)
            _unpack(folder / file.name, file.place(folder))


def _progress(section: PublicSection, done: int, total: int) -> Progress:
    unit, name = (10**6, "MB") if total > 20 * 10**6 else (10**3, "kB")
    return Progress(f"Downloading {section.title}", done // unit, total // unit, name)


def _remove_left_over(folder: Path) -> None:
    for path in folder.glob(".*.part"):
        if path.is_file() and time.time() - path.stat().st_mtime > LEFT_OVER:
            path.unlink(missing_ok=True)


def _sizes(section: PublicSection) -> dict[PublicFile, int]:
    """Return the size of each missing file, as its site says."""
    sizes = {}
    for file in section.missing:
        reason: Exception | None = None
        for url in file.urls:
            try:
                with ask(url, method="HEAD") as answer:
                    length = answer.headers.get("Content-Length", "")
                if not length.isdecimal():
                    raise ValueError("it does not say how large the file is")
                sizes[file] = int(length)
                break
            except (OSError, HTTPException, ValueError) as error:
                reason = error
                if isinstance(error, HTTPError):
                    error.close()
        else:
            raise _unreachable(section, file, reason)
    return sizes


def _download(section: PublicSection, file: PublicFile, size: int) -> Iterator[int]:
    """Write a file, whole and checked, or not at all; yield how many bytes were received."""
    with atomic_file(section.folder / file.name) as temporary:
        digest = hashlib.sha256()
        with open(temporary, "wb") as stream:
            yield from _receive(section, file, size, stream, digest)
        if digest.hexdigest() != file.sha256:
            raise UserError(
                f"{file.name} of {section.title} is not the file that was published (its checksum differs), and was "
                "thrown away; try again, and if that does not help, tell us that the file has changed."
            )


def _receive(
    section: PublicSection, file: PublicFile, size: int, stream: BinaryIO, digest: "hashlib._Hash"
) -> Iterator[int]:
    """Receive a file into a stream; where the connection breaks, go on from there, from a copy if there is one."""
    failures, said = 0, time.monotonic()
    while (start := stream.tell()) < size:
        try:
            for chunk in patiently(chunks(file.urls[failures % len(file.urls)], start, size)):
                if chunk:
                    failures = 0
                stream.write(chunk)
                digest.update(chunk)
                if time.monotonic() - said > REPORT:
                    said = time.monotonic()
                    yield stream.tell()
        except BrokenError as broken:
            failures += 1
            if failures == FAILURES:
                raise _unreachable(section, file, broken.__cause__) from broken


def _unreachable(section: PublicSection, file: PublicFile, error: BaseException | None) -> UserError:
    hosts = " or ".join(str(urlsplit(url).hostname) for url in file.urls)
    reason = getattr(error, "reason", error)
    if isinstance(error, HTTPError):
        reason = f"it answers {error.code} {error.reason}"
    elif isinstance(reason, TimeoutError):
        reason = f"no answer within {downloads.TIMEOUT:g} s"
    return UserError(
        f"{section.title} could not be downloaded from {hosts} ({reason}); check the connection to the network, then "
        "try again."
    )


def _unpack(archive: Path, folder: Path) -> None:
    """Write the files of a checked archive into a folder, whatever folders they are in, and remove the archive."""
    with tarfile.open(archive) as tar, atomic_folder(folder) as temporary:
        for member in tar:
            content = tar.extractfile(member) if member.isfile() else None
            if content is not None:
                (temporary / PurePosixPath(member.name).name).write_bytes(content.read())
    archive.unlink()
