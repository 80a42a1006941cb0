"""Real sections that anyone may download: by name, with a checksum, kept in the cache folder.

The checksums were published with the addresses: those of 10x Genomics' files, which are in the recipes, in squidpy's
registry of data sets, that of the slide in histolab's. pooch, which also downloads and checks, can neither be stopped
within a file nor go on where a connection broke, and the pictures here have up to two gigabytes.
"""

import gzip
import tarfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from napari_cmrcnet.catalogue.recipe import entries
from napari_cmrcnet.common.cache import cache_folder
from napari_cmrcnet.common.errors import UserError, first_sentence
from napari_cmrcnet.common.files import atomic_folder
from napari_cmrcnet.common.locks import when_free
from napari_cmrcnet.common.progress import Job, Progress, of_bytes
from napari_cmrcnet.common.public_files import PublicFile, check_room, go_on_with_file, sizes_of
from napari_cmrcnet.common.text import size_text

ARCHIVE = ".tar.gz"
MOST_UNPACKED = 2 * 10**9  # bytes; a real one has some MB of pictures


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
        The slide first; a name that ends in ``.tar.gz`` stands for the folder that is unpacked from it.
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
        """The files that are still to be downloaded or unpacked; empty once the section is complete."""
        return tuple(_missing(self.files, self.folder))

    @property
    def slide(self) -> Path:
        """Where the slide is, once it was downloaded."""
        return self.folder / self.files[0].name

    @property
    def spots(self) -> Path | None:
        """Where the spots are then; None for a slide without measurements."""
        return self.folder if self.measured else None


def _missing(files: Iterable[PublicFile], folder: Path) -> list[PublicFile]:
    """Return the files that are not complete: one stands under its name only when it was checked, or is unpacked."""
    return [file for file in files if not _is_there(_place(folder, file), file)]


def to_receive(title: str, files: Iterable[PublicFile], folder: Path) -> Job[dict[PublicFile, int]]:
    """Return the files that a site has to send, with their bytes: an archive that is whole only has to be unpacked.

    Raises
    ------
    UserError
        If the network or the site cannot be reached.
    """
    return sizes_of(title, [file for file in _missing(files, folder) if not _is_there(folder / file.name, file)])


def _is_there(path: Path, file: PublicFile) -> bool:
    return path.is_dir() or (path.is_file() and (file.size is None or path.stat().st_size == file.size))


def _place(folder: Path, file: PublicFile) -> Path:
    """Return the file, or the folder that an archive is unpacked to, that stands in a folder once it was received."""
    return folder / file.name.removesuffix(ARCHIVE)


def visium_files(about: Mapping[str, Any], folder: str = "") -> tuple[PublicFile, ...]:
    """Return the files of a section as 10x Genomics publishes them, by a recipe's entry of it; the image first."""
    return tuple(
        PublicFile(folder + name, tuple(place + name for place in about["places"]), checksum)
        for name, checksum in about["sha256"].items()
    )


def _visium(recipe: str, sample: str, title: str) -> PublicSection:
    files = visium_files(entries()[recipe]["files"][sample])
    return PublicSection(sample, title, "10x Genomics, CC BY 4.0", files, measured=True)


_SECTIONS = (
    _visium("visium_breast", "V1_Breast_Cancer_Block_A_Section_1", "Visium human breast cancer"),
    _visium("visium_lymph_node", "V1_Human_Lymph_Node", "Visium human lymph node"),
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


def download(section: PublicSection) -> Job[None]:
    """Download what of a section is missing.

    Each file appears whole and checked, or not at all. Cancelled or failed, the next call goes on where it was.

    Parameters
    ----------
    section : PublicSection
        Of `PUBLIC_SECTIONS`.

    Raises
    ------
    UserError
        If the network or the site cannot be reached, the disk is full, or a file is not the published one.
    """
    elsewhere = "name a folder on another disk in the environment variable CMRCNET_CACHE"
    with (yield from when_free(section.folder)):
        yield from receive(section.title, section.files, section.folder, elsewhere)


def receive(title: str, files: Iterable[PublicFile], folder: Path, *otherwise: str) -> Job[None]:
    """Receive the files that are missing in a folder, and unpack archives.

    Parameters
    ----------
    title : str
        What messages call them.
    files : iterable of PublicFile
        All that are wanted.
    folder : Path
        Where to.
    *otherwise : str
        What to do where the disk is too small, as `check_room` takes it.

    Raises
    ------
    UserError
        As `download`.
    """
    files = tuple(files)
    sizes = yield from to_receive(title, files, folder)
    total, done = sum(sizes.values()), 0
    check_room(title, total, folder, *otherwise)
    for file, size in sizes.items():
        for received in go_on_with_file(title, file, folder / file.name, size):
            yield of_bytes(f"Downloading {title}", done + received, total)
        done += size
        yield of_bytes(f"Downloading {title}", done, total)
    for file in files:
        archive = folder / file.name
        if file.name.endswith(ARCHIVE) and archive.exists():
            yield Progress(f"Unpacking {file.name}", 0, 0)
            unpack(archive, _place(folder, file))


def unpack(archive: Path, folder: Path) -> None:
    """Write the files of an archive into a folder, whatever folders they are in, and remove the archive.

    An archive that was kept from an earlier download may have been damaged since: its own checksum is compared first.

    Raises
    ------
    UserError
        If it is damaged, or holds more than a section's ``spatial`` folder can; it is thrown away then.
    """
    room = MOST_UNPACKED
    try:
        with gzip.open(archive) as packed:
            while packed.read(2**20):  # the checksum is at the end
                pass
        with tarfile.open(archive) as tar, atomic_folder(folder) as temporary:
            for member in tar:
                content = tar.extractfile(member) if member.isfile() else None
                if content is None:
                    continue
                room -= member.size
                if room < 0:
                    raise tarfile.TarError(f"it holds more than {size_text(MOST_UNPACKED)}")
                (temporary / PurePosixPath(member.name).name).write_bytes(content.read())
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        archive.unlink()
        raise UserError(
            f"{archive} is not the right file ({first_sentence(error)}), and was deleted; try again."
        ) from error
    archive.unlink()
