"""The slide that lies beside spots: in the usual places, by the usual names."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from napari_cmrcnet.common.spatialdata_store import find_store, pictures_of
from napari_cmrcnet.common.suffixes import SLIDES, SPOTS, ends_in, slide_name
from napari_cmrcnet.sections.formats.origin import mapping, size_in

if TYPE_CHECKING:
    from anndata import AnnData

NEAR = (".", "images", "slides", "wsis", "../images", "../slides", "../wsis")
"""Folders, as seen from a file of spots, where its slide may lie; ``wsis`` is HEST's."""
PARTS = (
    "outs",
    "spatial",
    "filtered_feature_bc_matrix",
    "raw_feature_bc_matrix",
    "binned_outputs",
    "segmented_outputs",
)
"""Folders of an output whose names say nothing of the section."""


def section_name(path: Path) -> str:
    """Return what a section is called by the path of its spots: the file's name, or the folder's that is its own."""
    whole = path.absolute()
    if whole.is_file() and ends_in(whole.name, (".h5ad",)):
        return whole.stem
    folders = [whole, *whole.parents] if whole.is_dir() else list(whole.parents)
    own = (folder.name for folder in folders if folder.name not in PARTS and not folder.name.startswith("square_"))
    return next(own, "") or whole.stem


def slides_beside(path: Path, spots: "AnnData") -> Iterator[Path]:
    """Yield what may be the slide of spots, the surest first. Whether the spots lie on it is for the caller to see.

    That is the image that the spots' own file names (scanpy's ``source_image_path``), then a slide of the same name,
    then a slide that is the only one in the folder, where no other spots are.

    Parameters
    ----------
    path : Path
        The spots.
    spots : AnnData
        As `open_spots` gives them.
    """
    seen: set[Path] = set()
    for found in _candidates(path.absolute(), spots):
        if found not in seen:
            seen.add(found)
            yield found


def pictures_beside(path: Path, spots: "AnnData") -> Iterator[tuple[Path, float]]:
    """Yield the small pictures of the tissue in Space Ranger's output, the largest first, each with its scale.

    The scale is what a picture's pixel is in full-resolution pixels, by ``scalefactors_json.json``.
    """
    home = path.absolute() if path.is_dir() else path.absolute().parent
    folders = (home, home / "spatial", home / "outs" / "spatial", home.parent / "spatial")
    for library in spots.uns["spatial"].values():
        for name in ("hires", "lowres"):
            factor = size_in(library["scalefactors"].get(f"tissue_{name}_scalef"))
            files = [file for folder in folders if folder.is_dir() for file in folder.glob(f"*tissue_{name}_image.png")]
            if factor and files:
                yield files[0], 1 / factor


def _candidates(path: Path, spots: "AnnData") -> Iterator[Path]:
    for library in spots.uns["spatial"].values():
        named = mapping(library.get("metadata")).get("source_image_path")
        if isinstance(named, str) and (image := path.parent / named).is_file():
            yield image
    store = find_store(path)
    if store is not None and pictures_of(store):
        yield store
    name = section_name(path).casefold()
    home = path if path.is_dir() else path.parent
    while home.name in PARTS or home.name.startswith("square_"):
        home = home.parent
    places = [home / near for near in NEAR]
    for place in (*places, home.parent, home / "outs"):
        yield from (file for file in _slides_in(place) if _stem(file) == name)
    for place in (home / "outs", home, home.parent):  # as 10x Genomics calls that of Xenium, beside its own images
        stained = [file for file in _slides_in(place) if _stem(file).endswith("he_image")]
        if len(stained) == 1:
            yield stained[0]
    of_output = path.is_dir() or not ends_in(path.name, (".h5ad",))
    for place in (home, home / "outs") if of_output else (home,):
        slides = _slides_in(place)
        if len(slides) == 1 and (of_output or len(_spots_in(place)) == 1):
            yield slides[0]


def _slides_in(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(file for file in folder.resolve().iterdir() if ends_in(file.name, SLIDES) and file.is_file())


def _spots_in(folder: Path) -> list[Path]:
    return [file for file in folder.iterdir() if ends_in(file.name, SPOTS)]


def _stem(file: Path) -> str:
    return slide_name(file).casefold()
