"""Slides that only fastslide reads, where it is installed: Zeiss CZI, Olympus VSI, Philips iSyntax."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from napari_cmrcnet.common.errors import UserError, readable
from napari_cmrcnet.slides.colours import over_white
from napari_cmrcnet.slides.planes import BRIGHTFIELD, focal_plane
from napari_cmrcnet.slides.source import Pixels, Source, judge_mpp, levels_of

SUFFIXES = (".czi", ".vsi", ".isyntax", ".i2syntax")
INSTALL = 'pip install "napari-cmrcnet[fastslide]"'
BLOCK = 512  # side of what is read at once: the tiles of a CZI may have any place and size
CACHE_BYTES = 64 * 2**20  # of decoded tiles, which are often larger than a block
OTHER_IMAGE = 0.25  # share of the largest image's pixels from which another is no overview of it


def is_installed() -> bool:
    """Tell whether fastslide can be imported."""
    return find_spec("fastslide") is not None


class FastSlideSource(Source):
    """A slide that fastslide reads, block by block.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    UserError
        If fastslide is not installed or cannot open the file, or it is not a brightfield image of 8 bits a colour.
    """

    def __init__(self, path: Path) -> None:
        if not is_installed():
            raise UserError(f"{path} needs one more package to be read: {INSTALL}")
        import fastslide

        self.path = path
        with readable(path, "cannot be opened by fastslide", "check that it is complete", (RuntimeError,)):
            self._slide = fastslide.FastSlide.from_file_path(str(path), cache=CACHE_BYTES)
        try:
            self._take()
        except BaseException:
            self.close()
            raise

    def _take(self) -> None:
        slide = self._slide
        if slide.dtype != "uint8" or slide.num_channels not in (3, 4):
            raise UserError(
                f"{self.path} cannot be read: it has {slide.num_channels} channels of {slide.dtype}, not one image in "
                f"colour with 8 bits; {BRIGHTFIELD}."
            )
        sizes = slide.level_dimensions
        self.levels = levels_of(sizes)
        self.tile_sizes = ((BLOCK, BLOCK),) * len(sizes)
        self.format = str(slide.format)
        x, y = slide.mpp
        self.tag = judge_mpp([(f"{self.format} tag", x, y)] if x > 0 and y > 0 else [])
        self._plane, note = focal_plane(slide.z_count)
        self.notes = tuple(filter(None, (note, self._other_images())))

    def _other_images(self) -> str:
        """Say what else the file holds, but for overviews of the slide."""
        images, largest = list(self._slide.images), self._slide.images.primary
        area = largest.dimensions[0] * largest.dimensions[1]
        others = [
            image.name
            for image in images
            if image.index != largest.index and image.dimensions[0] * image.dimensions[1] > OTHER_IMAGE * area
        ]
        return f"The file holds {len(others) + 1} images; the largest, {largest.name}, is read." if others else ""

    def read_tile(self, level: int, row: int, column: int) -> Pixels:
        """Decode one block, uint8 (height, width, 3), over white."""
        x, y, size = column * BLOCK, row * BLOCK, self.levels[level]
        part = min(BLOCK, size.width - x), min(BLOCK, size.height - y)
        pixels: Any = self._slide.read_region((x, y), level, part, self._plane).to_interleaved().numpy()
        if pixels.shape[2] == 4:
            return over_white(pixels[..., :3], pixels[..., 3:])
        return np.array(pixels)  # else it would hold on to fastslide's own

    def icc_profile(self) -> bytes:
        """Return the ICC profile as the file has it."""
        return self._slide.icc_profile or b""

    def close(self) -> None:
        """Close the slide."""
        self._slide.close()
