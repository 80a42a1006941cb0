"""Which reader opens a slide: its content decides, and where two can read it, who sees more of it."""

from pathlib import Path

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.spatialdata_store import find_store, pictures_of
from napari_cmrcnet.common.suffixes import SPOTS, ends_in
from napari_cmrcnet.slides import fastslide_source, openslide_source
from napari_cmrcnet.slides.checks import check_expansion, open_tiff
from napari_cmrcnet.slides.dicom_folder import dicom_instance
from napari_cmrcnet.slides.fastslide_source import FastSlideSource
from napari_cmrcnet.slides.flat_source import PictureSource
from napari_cmrcnet.slides.openslide_source import OpenSlideSource
from napari_cmrcnet.slides.planes import UnsupportedError
from napari_cmrcnet.slides.probe import files_of, probe
from napari_cmrcnet.slides.source import Source, TileError, tiles_folder
from napari_cmrcnet.slides.tiff_source import TiffSource
from napari_cmrcnet.slides.tile_reader import TileReader
from napari_cmrcnet.slides.zarr_source import ZarrSource, is_ome_zarr

TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
PICTURE_STARTS = (b"\x89PNG", b"\xff\xd8\xff")


def open_source(path: Path) -> Source:
    """Open the file or folder of a slide with what reads it best, as `open_slide` says.

    Raises
    ------
    UserError, OSError
        If it cannot be opened.
    """
    if path.is_dir() and is_ome_zarr(path):
        return ZarrSource(path)
    if path.is_dir() and find_store(path) == path:
        return _of_store(path)
    if path.is_dir():
        return _openslide(*dicom_instance(path))
    if not path.is_file():
        raise UserError(f"{path} does not exist; check the path.")
    if path.stat().st_size == 0:
        raise UserError(f"{path} is empty; copy or download it again.")
    if path.suffix.lower() in fastslide_source.SUFFIXES:  # a VSI begins as a TIFF, and holds an overview as such
        return _other_format(path)
    with open(path, "rb") as stream:
        start = stream.read(4)
    if start in TIFF_STARTS:
        return _open_tiff(path)
    if start.startswith(PICTURE_STARTS):
        return PictureSource(path, path.read_bytes())
    _check_tiles_beside(path)
    if openslide_source.vendor(path) is None:
        if ends_in(path.name, SPOTS):
            raise UserError(
                f"{path} is not a slide but, by its ending, a file of spots; give it as the spots, and its slide as "
                "the slide."
            )
        raise UserError(
            f"{path} is not a slide that can be read (SVS, NDPI, MRXS, SCN, BIF, DICOM, TIFF, OME-TIFF, PNG, JPEG); "
            "check that it is the right file, and complete."
        )
    return _openslide(path)


def _of_store(store: Path) -> Source:
    """Open the image of a SpatialData store: the largest in colour, in whose pixels its spots are read, too."""
    pictures = pictures_of(store)
    if not pictures:
        raise UserError(f"{store} is a SpatialData store without an image in colour; give the H&E image as the slide.")
    return ZarrSource(pictures[0].folder)


def _check_tiles_beside(path: Path) -> None:
    """Refuse a file without the folder that its tiles are in."""
    tiles = tiles_folder(path)
    if tiles is not None and not tiles.is_dir():
        raise UserError(f"{path} needs the folder {tiles.name} with its tiles beside it; copy both.")


def _other_format(path: Path) -> Source:
    """Open a slide of a format that OpenSlide reads in part or not at all, else with fastslide."""
    if path.suffix.lower() == ".czi" and openslide_source.vendor(path) is not None:
        try:
            return _openslide(path)
        except UserError:
            if not fastslide_source.is_installed():
                raise
    _check_tiles_beside(path)
    if fastslide_source.is_installed():
        probe(path, "fastslide")
    return _believable(path, FastSlideSource(path))


def _openslide(path: Path, note: str = "") -> Source:
    """Open a slide through OpenSlide, once another process has read it."""
    probe(path)
    return _believable(path, OpenSlideSource(path, note))


def _believable(path: Path, source: Source) -> Source:
    """Return a slide whose files can hold the pixels that they claim; close and refuse any other."""
    try:
        check_expansion(path, source.levels, files_of(path))
    except BaseException:
        source.close()
        raise
    return source


def _open_tiff(path: Path) -> Source:
    """Open a TIFF file, once its sizes are checked, with whichever reader serves it best."""
    tiff = open_tiff(path)
    keep = False
    try:
        vendor = openslide_source.vendor(path)
        if vendor not in (None, "generic-tiff", "aperio"):
            return _openslide(path)
        try:
            source = TiffSource(path, tiff)
        except UnsupportedError as reason:
            return _openslide_after(path, vendor, reason)
        if vendor is not None and (better := _openslide_instead(path, vendor, source)) is not None:
            return better
        keep = True
        return source
    finally:
        if not keep:
            tiff.close()


def _openslide_after(path: Path, vendor: str | None, reason: UnsupportedError) -> Source:
    """Open with OpenSlide what is not read here; where that cannot either, say why it is not read here."""
    refusal = reason.of(path)
    if vendor is None or not reason.elsewhere:
        raise refusal from reason
    try:
        other = _openslide(path)
    except UserError as error:
        raise refusal from error
    try:
        TileReader(other).read(len(other.levels) - 1, 0, 0, 1, 1)  # it opens what it cannot decode
    except TileError as error:
        other.close()
        raise refusal from error
    return other


def _openslide_instead(path: Path, vendor: str, source: TiffSource) -> Source | None:
    """Return OpenSlide's view of a TIFF file where it is the fuller one."""
    try:
        other = OpenSlideSource(path)
    except UserError:  # it lacks some of the codecs, and we have opened the file already
        return None
    if len(other.levels) > len(source.levels) or (vendor == "aperio" and not source.complete):
        probe(path)
        return other
    other.close()
    return None
