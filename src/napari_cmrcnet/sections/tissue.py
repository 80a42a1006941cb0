"""Where the tissue is on a slide, and a grid of spots over it for slides without spots."""

from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import Job, Progress, in_thread, to_the_end
from napari_cmrcnet.sections.formats.origin import Origin
from napari_cmrcnet.slides.source import Pixels

if TYPE_CHECKING:
    from anndata import AnnData

    from napari_cmrcnet.slides.slide import Slide

OVERVIEW_PX = 2048
SEARCH_PX = 256  # of the mask's longer side, where a shift is looked for: finer than a spot on any slide
DEBRIS_UM2 = 50_000.0  # a square of 224 µm: less than two patches
HOLE_UM2 = 50_000.0
MOST_SPOTS = 5_000_000
_DARK = 30  # below this brightness saturation is noise: scanner borders, ink
_STAINED = 0.15  # mean saturation that glass never has: what Otsu then splits is all tissue
_CONTRAST = 0.04  # smaller differences in saturation are shades of glass


@dataclass(frozen=True, eq=False)
class TissueMask:
    """Tissue on an overview of the slide.

    Parameters
    ----------
    mask : array of bool, (height, width)
        True where there is tissue.
    downsample : float
        Full-resolution pixels a pixel of the mask.
    """

    mask: NDArray[np.bool_]
    downsample: float

    def contains(self, xy: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether points, (n, 2) in full-resolution pixels, lie on tissue; outside the slide is not tissue."""
        columns, rows = np.floor(np.asarray(xy) / self.downsample).T
        height, width = self.mask.shape
        inside = (columns >= 0) & (rows >= 0) & (columns < width) & (rows < height)
        on_tissue = np.zeros(len(inside), dtype=bool)
        on_tissue[inside] = self.mask[rows[inside].astype(np.int64), columns[inside].astype(np.int64)]
        return on_tissue

    def best_shift(self, xy: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the shift (x, y) of all spots, (n, 2) in full-resolution pixels, that brings most of them onto tissue.

        The share on tissue alone does not tell spots that belong elsewhere from spots on fat, which is as pale as
        glass: only the former would gain from being moved. All shifts are tried at once, by correlation with a coarse
        mask. Where no shift brings all spots onto the slide, it is (0, 0).
        """
        from scipy.signal import fftconvolve

        height, width = (side * self.downsample for side in self.mask.shape)
        if (np.ptp(xy, axis=0) > [2 * width, 2 * height]).any():
            return np.zeros(2)
        step = max(1, max(self.mask.shape) // SEARCH_PX)
        coarse = self.mask[::step, ::step].astype(np.float32)
        pixel = self.downsample * step
        column, row = np.floor((xy - xy.min(axis=0)) / pixel).astype(np.int64).T
        spots = np.zeros((row.max() + 1, column.max() + 1), np.float32)
        np.add.at(spots, (row, column), 1)
        on_tissue = fftconvolve(coarse, spots[::-1, ::-1])  # by where the spots' first row and column would lie
        top, left = np.unravel_index(int(on_tissue.argmax()), on_tissue.shape)
        corner = (np.array([left, top]) - [spots.shape[1] - 1, spots.shape[0] - 1]) * pixel
        return np.asarray(corner - xy.min(axis=0), np.float64)


def tissue_job(slide: "Slide", mpp: float) -> Job[TissueMask]:
    """Find the tissue by Otsu's threshold on the colour saturation of an overview.

    Glass is grey and tissue is stained, however bright either is. Small holes are filled and debris removed.

    Parameters
    ----------
    slide : Slide
        The slide.
    mpp : float
        µm per full-resolution pixel, for what counts as small.
    """
    step = Progress("Finding the tissue", 0, 0)
    yield step
    overview = slide.thumbnail(OVERVIEW_PX)  # here: a thread that nobody waits for must not read a slide
    return (yield from in_thread(lambda: _tissue_of(overview, max(slide.shape) / max(overview.shape[:2]), mpp), step))


tissue_mask = to_the_end(tissue_job)


def _tissue_of(overview: Pixels, downsample: float, mpp: float) -> TissueMask:
    from skimage.filters import gaussian, threshold_otsu

    colours = np.moveaxis(overview, 2, 0)  # compared one with another: along an axis of three takes ten times as long
    brightest = reduce(np.maximum, colours).astype(np.float32)
    saturation = (brightest - reduce(np.minimum, colours)) / np.maximum(brightest, 1)
    saturation[brightest < _DARK] = 0
    saturation = gaussian(saturation, sigma=2, preserve_range=True)
    mask = saturation > threshold_otsu(saturation)
    glass = saturation[~mask].mean()
    if glass > _STAINED:
        mask[:] = True
    elif not mask.any() or saturation[mask].mean() - glass < _CONTRAST:
        mask[:] = False
    pixel_um2 = (mpp * downsample) ** 2
    mask = ~_without_small(~mask, HOLE_UM2 / pixel_um2)
    return TissueMask(_without_small(mask, DEBRIS_UM2 / pixel_um2), downsample)


def _without_small(mask: NDArray[np.bool_], smallest: float) -> NDArray[np.bool_]:
    """Return the mask without connected regions of fewer pixels."""
    from skimage.measure import label

    regions = label(mask, connectivity=1)
    large = np.bincount(regions.ravel()) >= smallest
    large[0] = False
    return np.asarray(large[regions], dtype=bool)


def spot_grid(
    slide: "Slide", mpp: float, pitch_um: float = 100.0, lattice: Literal["hex", "square"] = "hex"
) -> "AnnData":
    """Lay spots over the tissue, in the convention of `open_spots` and without counts.

    Parameters
    ----------
    slide : Slide
        The slide.
    mpp : float
        µm per full-resolution pixel.
    pitch_um : float
        Distance between neighbouring spots, centre to centre, in µm.
    lattice : "hex" or "square"
        Visium's hexagonal array, numbered as Visium does, or a square one.

    Raises
    ------
    UserError
        If there is no tissue, or the pitch makes no sensible number of spots.
    """
    from anndata import AnnData

    if not pitch_um > 0 or not np.isfinite(pitch_um):
        raise UserError(f"A spot pitch of {pitch_um} µm is impossible; give a positive one, such as 100.")
    height, width = slide.shape
    pitch = pitch_um / mpp
    if (height / pitch) * (width / pitch) > MOST_SPOTS:
        raise UserError(f"A spot pitch of {pitch_um:g} µm makes too many spots on {slide.path}; give a larger one.")
    xy, rows, columns = _lattice_points(width, height, pitch, hexagonal=lattice == "hex")
    on_tissue = tissue_mask(slide, mpp).contains(xy)
    if not on_tissue.any():
        raise UserError(f"No tissue was found on {slide.path}; give the spots' positions instead.")
    xy, rows, columns = xy[on_tissue], rows[on_tissue], columns[on_tissue]
    obs = pd.DataFrame(
        {"in_tissue": True, "array_row": rows, "array_col": columns},
        index=[f"{row}x{column}" for row, column in zip(rows, columns, strict=True)],
    )
    scalefactors = {"spot_diameter_fullres": 0.5 * pitch}
    uns = {"spatial": {slide.path.stem: {"scalefactors": scalefactors, "metadata": {}}}}
    spots = AnnData(obs=obs, obsm={"spatial": xy}, uns=uns)
    Origin("grid over the tissue", slide.path, pitch_um=float(pitch_um), pitch_px=pitch).keep_in(spots)
    return spots


def _lattice_points(
    width: int, height: int, pitch: float, *, hexagonal: bool
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Return positions (x, y), array rows and columns of a lattice that fills the slide."""
    row_step = pitch * np.sqrt(3) / 2 if hexagonal else pitch
    rows = np.arange(int(height / row_step) + 1)
    columns = np.arange(int(width / pitch) + 1)
    row, column = (grid.ravel() for grid in np.meshgrid(rows, columns, indexing="ij"))
    shift = row % 2 if hexagonal else 0 * row
    xy = np.column_stack([(column + 0.5 * shift) * pitch, row * row_step]) + pitch / 2
    return xy, row, 2 * column + shift if hexagonal else column
