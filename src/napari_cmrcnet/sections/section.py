"""Section: one slide with its spots and, where measured, their counts."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.suffixes import slide_name
from napari_cmrcnet.common.text import count_text
from napari_cmrcnet.sections.formats.origin import Origin, spot_diameter
from napari_cmrcnet.sections.pixel_size import PixelSize, pixel_size, sizes_known
from napari_cmrcnet.sections.pooling import pool_for, pool_from, pool_spots
from napari_cmrcnet.sections.spots import open_spots, with_enough_counts
from napari_cmrcnet.sections.tissue import spot_grid
from napari_cmrcnet.slides.orientation import STORED, as_stored
from napari_cmrcnet.slides.slide import Slide, open_slide

FITS = 0.95  # share of the spots on the slide


@dataclass(frozen=True, eq=False, repr=False)
class Section:
    """One slide with its spots.

    Parameters
    ----------
    name : str
        Its name in reports and files.
    slide : Slide
        The image.
    spots : AnnData
        As `open_spots` gives them.
    patient : str
        The patient, ``""`` if unknown. Sections of one patient are not independent.
    pixel_size : PixelSize
        µm per full-resolution pixel and its source.
    notes : tuple of str
        What the user should know about spots, pixel size and how they fit the slide.
    """

    name: str
    slide: Slide
    spots: AnnData
    patient: str
    pixel_size: PixelSize
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        genes = f"{count_text(self.spots.n_vars, 'gene')} measured" if self.measured else "nothing measured"
        return f"<Section {self.name}: {count_text(self.spots.n_obs, 'spot')}, {genes}>"

    @property
    def origin(self) -> Origin:
        """Where the spots come from."""
        return Origin.of(self.spots)

    @property
    def spot_diameter(self) -> float:
        """Diameter of a spot, in full-resolution pixels."""
        return spot_diameter(self.spots)

    @property
    def mpp(self) -> float:
        """µm per full-resolution pixel."""
        return self.pixel_size.um

    @property
    def xy(self) -> NDArray[np.float64]:
        """Spot centres (x, y) in full-resolution pixels, float64 (n, 2)."""
        return np.asarray(self.spots.obsm["spatial"], dtype=np.float64)

    @property
    def measured(self) -> bool:
        """Whether the spots have counts, or values that were normalised already."""
        return self.spots.X is not None and self.spots.n_vars > 0

    @property
    def counted(self) -> bool:
        """Whether the spots have counts."""
        return self.measured and not self.origin.normalised


def open_section(
    slide: str | os.PathLike[str] | Slide,
    spots: str | os.PathLike[str] | None = None,
    *,
    name: str | None = None,
    patient: str = "",
    mpp: float | None = None,
    min_umi: int = 0,
    pitch_um: float = 100.0,
    lattice: Literal["hex", "square"] = "hex",
    library: str = "",
    pool: str = "",
    normalised: bool = False,
) -> Section:
    """Open a slide with its spots, or with a grid of spots over its tissue.

    Parameters
    ----------
    slide : path or Slide
        The slide. An open `Slide` stays open if this fails.
    spots : path, optional
        Spots in a format that `open_spots` reads; None makes a grid.
    name : str, optional
        By default the slide's file name without its ending.
    patient : str
        The patient; by default what ``obs["patient"]`` of the spots says.
    mpp : float, optional
        µm per full-resolution pixel; by default it is found, see `pixel_size`.
    min_umi : int
        Spots with fewer counts are dropped.
    pitch_um : float
        Distance between neighbouring spots of the grid, in µm.
    lattice : "hex" or "square"
        Pattern of the grid.
    library : str
        Which section of the spots' file to read, see `open_spots`.
    pool : str
        Spots to which cells or bins are pooled, see `pool_for`; ``""`` pools cells and small bins in squares of 55 µm.
    normalised : bool
        Whether log-normalised values are accepted if there are no counts, see `open_spots`.

    Raises
    ------
    UserError
        If slide or spots cannot be read, do not fit each other, or the pixel size is unknown or impossible.
    """
    pool_from(pool)  # what it refuses, it refuses before any file is read
    table = None if spots is None else open_spots(spots, library=library, normalised=normalised)
    unsized = not any(sizes_known(table, None, mpp))
    opened = slide if isinstance(slide, Slide) else open_slide(slide, sized=unsized)
    try:
        if table is None:
            size = pixel_size(None, opened, mpp)
            table = spot_grid(opened, size.um, pitch_um, lattice)
            placed_on = f"a {lattice} grid over the tissue, {pitch_um:g} µm apart"
            notes = [f"No spots were given: {count_text(table.n_obs, 'spot')} on {placed_on}."]
        else:
            placed = fit_to_slide(table, opened)
            size = pixel_size(table, opened, mpp)
            table = with_enough_counts(pooled(table, size.um, pool), min_umi)
            notes = [*Origin.of(table).notes, *placed]
    except BaseException:
        if opened is not slide:
            opened.close()
        raise
    notes = [*opened.notes, *notes]
    title = name or slide_name(Path(opened.path))
    return Section(title, opened, table, patient or patient_of(table), size, (*notes, *size.disagreements))


def pooled(spots: AnnData, mpp: float, wanted: str) -> AnnData:
    """Return the spots that cells or bins are pooled to, or these themselves; their `Origin` says what was asked for.

    Parameters
    ----------
    spots : AnnData
        As `open_spots` gives them.
    mpp : float
        µm per full-resolution pixel.
    wanted : str
        As `pool_for` takes it.

    Raises
    ------
    UserError
        If no cell lies in a spot, or there are no counts to sum.
    """
    pool = pool_for(wanted, Origin.of(spots))
    table = spots if pool is None else pool_spots(spots, mpp, pool)
    replace(Origin.of(table), pool=wanted).keep_in(table)
    return table


def patient_of(spots: AnnData) -> str:
    """Return the patient, if the spots that name one all name the same; else an empty text."""
    named = spots.obs["patient"].dropna().unique() if "patient" in spots.obs else []
    return str(named[0]).strip() if len(named) == 1 else ""


def fit_to_slide(spots: AnnData, slide: Slide) -> list[str]:
    """Turn spots with their slide where its orientation tag asks for that, and return notes of how they lie on it.

    Raises
    ------
    UserError
        If they are in another image's pixels.
    """
    return [*_turn_back(spots, slide), *_check_spots_on_slide(spots, slide)]


def _turn_back(spots: AnnData, slide: Slide) -> list[str]:
    """Turn positions back that fit only the slide as its orientation tag asks for it to be shown, and say so."""
    xy = np.asarray(spots.obsm["spatial"], np.float64)
    if slide.orientation == STORED or on_slide(xy, slide).mean() > FITS:
        return []
    stored = as_stored(xy, slide.orientation, slide.shape)
    if on_slide(stored, slide).mean() <= FITS:
        return []
    spots.obsm["spatial"] = stored
    return ["The spots fit the slide only when it is turned as its orientation tag says. They were turned with it."]


def _check_spots_on_slide(spots: AnnData, slide: Slide) -> list[str]:
    """Return a note if a few spots lie outside the slide; refuse spots that are in another image's pixels."""
    xy, path = np.asarray(spots.obsm["spatial"]), Origin.of(spots).path
    height, width = slide.shape
    outside = int(len(xy) - on_slide(xy, slide).sum())
    said = (
        f"{path} has {count_text(outside, 'spot', len(xy))} outside {slide.path}, which has {width} × {height} pixels, "
        f"while the spots reach from ({xy[:, 0].min():.0f}, {xy[:, 1].min():.0f}) to "
        f"({xy[:, 0].max():.0f}, {xy[:, 1].max():.0f})"
    )
    if outside > (1 - FITS) * len(xy) and on_slide(xy[:, ::-1], slide).mean() > 0.99:
        raise UserError(f"{said}: x and y look swapped; obsm['spatial'] must be (x, y).")
    if outside > 0.5 * len(xy) or (outside > (1 - FITS) * len(xy) and _scaled_image(spots, slide)):
        raise UserError(f"{said}: {_likely_reason(spots, slide)}.")
    if outside:
        return [f"{said}; their patches are white outside the slide."]
    _check_not_downscaled(spots, slide)
    return []


def on_slide(xy: NDArray[np.float64], slide: Slide) -> NDArray[np.bool_]:
    """Tell which positions (x, y) in pixels lie on a slide or picture, bool (n,)."""
    height, width = slide.shape
    return np.asarray(((xy >= 0) & (xy < [width, height])).all(axis=1), dtype=bool)


def _scaled_image(spots: AnnData, slide: Slide) -> str:
    """Name the scale factor of the spots file by which all spots would fit the slide, if there is one."""
    xy = np.asarray(spots.obsm["spatial"])
    for name, factor in sorted(_image_scales(spots).items(), key=lambda item: -item[1]):
        if on_slide(xy * factor, slide).mean() > 0.99:
            return f"{name} ({factor:.4g})"
    return ""


def _likely_reason(spots: AnnData, slide: Slide) -> str:
    xy, (height, width) = np.asarray(spots.obsm["spatial"]), slide.shape
    if image := _scaled_image(spots, slide):
        return f"the slide looks like the image of {image}; give the full-resolution image"
    another = "the spots may be of another section; give the slide that they were aligned to"
    ratio = float(max(xy[:, 0].max() / width, xy[:, 1].max() / height))
    if xy.min() >= 0 and ratio > 1:
        return f"{another}. Or it is a copy at least {ratio:.1f} times smaller; give the full-resolution one"
    return another


def _check_not_downscaled(spots: AnnData, slide: Slide) -> None:
    """Refuse spots in a small copy's pixels: all on the slide, but in its top left corner.

    The lattice then says that pixels are larger than the slide's tag does, by a factor that the spots' own scale
    factors name; either alone happens to good files.
    """
    about = Origin.of(spots)
    if not about.pitch_um or not about.pitch_px or slide.mpp is None:
        return
    for name, factor in _image_scales(spots).items():
        fits = on_slide(np.asarray(spots.obsm["spatial"]) / factor, slide).all()
        if fits and abs(about.pitch_um / about.pitch_px * factor / slide.mpp - 1) < 0.1:
            raise UserError(
                f"The spots of {about.path} look like pixels of the image of {name} "
                f"({factor:.4g}), not of {slide.path}; obsm['spatial'] must be in full-resolution pixels."
            )


def _image_scales(spots: AnnData) -> dict[str, float]:
    """Return the scale factors of smaller images, by name."""
    (library,) = spots.uns["spatial"].values()
    return {
        name: float(value)
        for name, value in library["scalefactors"].items()
        if name.endswith(("scalef", "scale_factor")) and 0 < float(value) < 0.95
    }
