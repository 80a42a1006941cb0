"""Which pages of a TIFF image are its colours: one of several focal planes, and never channels of fluorescence."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.slides.source import Source
from napari_cmrcnet.slides.tile_reader import TileReader

IN_COLOUR = (["red", "green", "blue"], ["r", "g", "b"])
NUMBERED = re.compile(r"(channel|ch|c|band|plane|image|sample)?[\s:_#-]*\d*([\s:_-]*\d+)*", re.IGNORECASE)
FLUORESCENT = ("Fluor", "EmissionWavelength", "ExcitationWavelength")
DARK, DARK_PX = 64, 32  # of 255: below it at half of the places, of so many pixels, a picture is no brightfield image
PICTURE = "save it as an 8-bit RGB TIFF pyramid"
BRIGHTFIELD = "give the brightfield (H&E) image of the section"


class UnsupportedError(UserError):
    """The pixels of a slide are of a kind that is not read here; who opens it says of which.

    Parameters
    ----------
    reason : str
        Why, as ``"its compression (JBIG) is not read here"``.
    advice : str
        What to do.
    elsewhere : bool
        Whether OpenSlide is asked next: it knows other codecs and colours, but shows whatever pixels there are.
    """

    def __init__(self, reason: str, advice: str = PICTURE, *, elsewhere: bool = False) -> None:
        super().__init__(reason)
        self.advice, self.elsewhere = advice, elsewhere

    def of(self, path: Path) -> UserError:
        """Return the whole sentence."""
        return UserError(f"{path} cannot be read: {self}; {self.advice}.")


@dataclass(frozen=True, slots=True)
class Plane:
    """A page that holds one colour or all; ``key`` is the page of the same kind that knows how to decode it."""

    page: Any
    key: Any
    offset: int  # of its first tile, where a page holds the colours one after another


def page_planes(page: Any, key: Any) -> list[Plane]:
    """Return the planes of a page with all colours, which may lie one after another in it."""
    colours = key.samplesperpixel if key.planarconfig == 2 else 1
    tiles = len(page.dataoffsets) // colours
    return [Plane(page, key, colour * tiles) for colour in range(colours)]


def focal_plane(count: int) -> tuple[int, str]:
    """Return the focal plane that is read, counted from 0, and a sentence on it where there are others."""
    middle = count // 2
    note = f"It has {count} focal planes; the one in the middle, number {middle + 1}, is read."
    return middle, note if count > 1 else ""


def chosen_pages(series: Any) -> tuple[list[int], str]:
    """Choose the pages that are read: of a stack, those of one focal plane.

    Parameters
    ----------
    series : tifffile.TiffPageSeries
        The image.

    Returns
    -------
    list of int, str
        Indices of pages, three for as many planes of colour; and a sentence on what else there is, or an empty text.

    Raises
    ------
    UnsupportedError
        If there are several channels, but not the three of a colour picture.
    """
    key = series.keyframe
    colour = key.samplesperpixel >= 3
    axes = [(axis, size) for axis, size in zip(series.axes, series.shape, strict=True) if axis not in "YXS"]
    if len(series.pages) == 1:
        axes = []
    at, notes, channels = [], [], 1
    for axis, size in axes:
        if not colour and axis not in "ZT":
            channels *= size
            at.append(np.arange(size))
        else:
            first = 0, f"It has {size} images of one size; the first is read."
            place, note = focal_plane(size) if axis == "Z" else first
            notes.append(note)
            at.append(np.array([place]))
    if channels not in (1, 3):
        raise UnsupportedError(f"it has {channels} channels, as fluorescence has, not one image in colour", BRIGHTFIELD)
    if np.prod([size for _, size in axes], dtype=int) != len(series.pages):
        raise UnsupportedError(f"it has {len(series.pages)} planes of {series.axes}, not one RGB or grey image")
    if not axes:
        return [0], ""
    places = np.ravel_multi_index(np.meshgrid(*at, indexing="ij"), [size for _, size in axes])
    return [int(place) for place in places.ravel()], " ".join(notes)


def level_planes(level: Any, pages: list[int]) -> list[Plane]:
    """Return the planes of one level of an image.

    Raises
    ------
    UnsupportedError
        If the file lacks one of these pages.
    """
    key = level.keyframe
    found = [level.pages[index] if index < len(level.pages) else None for index in pages]
    if any(page is None for page in found):
        raise UnsupportedError("some of its planes are not in the file")
    return page_planes(found[0], key) if len(found) == 1 else [Plane(page, key, 0) for page in found]


def check_colours(pixels: Element | None) -> None:
    """Refuse channels that OME-XML says are no red, green and blue.

    Raises
    ------
    UnsupportedError
        If a channel is called otherwise, or has the properties of fluorescence.
    """
    channels = [] if pixels is None else [each for each in pixels if each.tag.rpartition("}")[2] == "Channel"]
    fluorescent = any(channel.get(name) for channel in channels for name in FLUORESCENT)
    fluorescent |= any(channel.get("ContrastMethod") == "Fluorescence" for channel in channels)
    check_names([str(channel.get("Name") or "").strip() for channel in channels], fluorescent)


def check_names(names: list[str], fluorescent: bool = False) -> None:
    """Refuse channels that are named, and not red, green and blue; or several that are known to be of fluorescence.

    Raises
    ------
    UnsupportedError
        With the names.
    """
    unnamed = all(map(NUMBERED.fullmatch, names))
    if len(names) > 1 and (fluorescent or not (unnamed or [name.casefold() for name in names] in IN_COLOUR)):
        listed = f" ({', '.join(filter(None, names))})" if any(names) else ""
        raise UnsupportedError(
            f"it has {len(names)} channels{listed}, as fluorescence has, not one image in colour", BRIGHTFIELD
        )


def check_bright(source: Source) -> None:
    """Refuse three channels without names that are dark as fluorescence is: glass is bright.

    Raises
    ------
    UnsupportedError
        If most places of the smallest level are dark.
    """
    reader, level, side = TileReader(source), len(source.levels) - 1, DARK_PX
    width, height = source.levels[level].width, source.levels[level].height
    places = [(width * x // 6 - side // 2, height * y // 6 - side // 2) for x in range(1, 6) for y in range(1, 6)]
    light = [reader.read(level, *place, side, side, skip_damaged=True).mean(axis=(0, 1)).max() for place in places]
    if np.median(light) < DARK:
        raise UnsupportedError(
            "it has 3 channels that are dark, as fluorescence is, not one image in colour", BRIGHTFIELD
        )
