"""What File > Open Sample offers: the synthetic section that comes with the software, and public sections."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_cmrcnet.catalogue.public_data import PublicPaths
    from napari_cmrcnet.common.progress import Job


@dataclass(frozen=True)
class SyntheticPaths:
    """The sample: a section that no prediction has seen, and the checkpoint that predicts it."""

    slide: Path
    spots: Path
    checkpoint: Path


def synthetic_paths() -> SyntheticPaths:
    """Return where the synthetic sample is; it needs no network."""
    from napari_cmrcnet.common.sample import sample_folder
    from napari_cmrcnet.sections.sheet import read_sheet

    folder = sample_folder()
    (row,) = read_sheet(folder / "sections.csv")
    assert row.spots is not None, "the sample was measured"
    return SyntheticPaths(row.slide, row.spots, folder / "sample.cmrcnet")


def is_kept(title: str) -> bool:
    """Whether a public section was downloaded before."""
    from napari_cmrcnet.catalogue.public_data import PUBLIC_SECTIONS

    return not PUBLIC_SECTIONS[title].missing


def question_job(title: str) -> "Job[str]":
    """Ask how large a public section is, and return the question to put to the user before it is downloaded.

    Raises
    ------
    UserError
        If the network or the site cannot be reached.
    """
    from napari_cmrcnet.catalogue.public_data import PUBLIC_SECTIONS, download_size
    from napari_cmrcnet.common.progress import Progress
    from napari_cmrcnet.common.text import size_text

    section = PUBLIC_SECTIONS[title]
    yield Progress(f"Asking for the size of {title}", 0, 0)
    size = size_text(download_size(section))
    return f"{title} ({section.source}) is {size} to download. It is kept in {section.folder}. Download it now?"


def public_section_job(title: str) -> "Job[PublicPaths]":
    """Download a public section, or what of it is missing; see `public_data.download`."""
    from napari_cmrcnet.catalogue.public_data import PUBLIC_SECTIONS, download

    return download(PUBLIC_SECTIONS[title])
