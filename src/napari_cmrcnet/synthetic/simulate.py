"""Synthetic H&E sections with spots and counts, for the sample, the tests and a first try.

Nothing in them is real but the names of the genes, and every file says so. What a network can learn from them
is known: the spots' counts follow the cells that are drawn, except for genes with ``var["driven"]`` False.
"""

import os
from functools import partial
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import tifffile
from numpy.typing import NDArray
from PIL import Image
from scipy.sparse import csr_matrix

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.files import atomic_file
from napari_cmrcnet.common.hdf5 import write_h5ad
from napari_cmrcnet.common.progress import Job, Progress, in_thread
from napari_cmrcnet.common.spreadsheet import write_frame
from napari_cmrcnet.synthetic.draw import MPP, render
from napari_cmrcnet.synthetic.genes import CELL_TYPES, DRIVEN, GENES, draw_counts
from napari_cmrcnet.synthetic.tissue import Region, Tissue, at, composition, make_tissue

PITCH_UM, SPOT_UM = 100.0, 55.0
DESCRIPTION = "SYNTHETIC H&E section drawn by napari-cmrcnet: not tissue of any patient"
_TISSUE_SHARE = 0.8  # of a slide's area, about
_LEVELS, _TILE, _QUALITY = 4, 256, 64  # of a slide's pyramid


def simulate(folder: str | os.PathLike[str], *, n_sections: int = 4, seed: int = 0, spots: int = 350) -> Job[Path]:
    """Make synthetic sections: slides, spots with counts, and the sheet that lists them.

    Writes ``S1.tif`` (tiled pyramid, 0.5 µm/px), ``S1.h5ad`` (spots on a Visium lattice), ... and
    ``sections.csv``. The same seed makes the same sections, whatever their number.

    Parameters
    ----------
    folder : path
        Where to write; made if missing.
    n_sections : int
        How many sections, each of a patient of its own.
    seed : int
        Start of the random numbers.
    spots : int
        About how many spots a section has; the slide is as large as they need.

    Raises
    ------
    UserError
        If a number is impossible, a file is there already or cannot be written.
    """
    if n_sections < 1:
        raise UserError(f"{n_sections} sections cannot be made; ask for 1 or more.")
    if not 20 <= spots <= 1500:
        raise UserError(f"A synthetic section has 20 to 1,500 spots, not {spots}.")
    if seed < 0:
        raise UserError(f"The seed is {seed}; give 0 or more.")
    folder = Path(folder)
    side = round(np.sqrt(spots * PITCH_UM**2 * np.sqrt(3) / 2 / _TISSUE_SHARE))
    names = [f"S{number}" for number in range(1, n_sections + 1)]
    targets = [folder / f"{name}{suffix}" for name in names for suffix in (".tif", ".h5ad")] + [folder / "sections.csv"]
    if present := [path for path in targets if path.exists()]:
        raise UserError(f"{present[0]} exists already; choose a new folder, so that nothing is overwritten.")
    for done, name in enumerate(names):
        step = Progress("Drawing synthetic sections", done, n_sections, "sections")
        rng = np.random.default_rng([seed, done])
        tissue = yield from in_thread(partial(make_tissue, side, rng), step)
        write_slide(folder / f"{name}.tif", (yield from in_thread(partial(render, tissue, rng), step)))
        write_h5ad(folder / f"{name}.h5ad", (yield from in_thread(partial(measure, tissue, name, rng), step)))
    rows = [(name, f"{name}.tif", f"{name}.h5ad", f"synthetic {number}") for number, name in enumerate(names, 1)]
    sheet = write_frame(folder / "sections.csv", pd.DataFrame(rows, columns=["section", "slide", "spots", "patient"]))
    yield Progress("Drawing synthetic sections", n_sections, n_sections, "sections")
    return sheet


def write_slide(path: Path, image: NDArray[np.uint8]) -> None:
    """Write RGB (h, w, 3) at `MPP` µm per pixel as a tiled JPEG pyramid that OpenSlide and tifffile read."""
    with atomic_file(path) as temporary, tifffile.TiffWriter(temporary) as tiff:
        level = Image.fromarray(image)
        for number in range(_LEVELS):
            per_cm = 1e4 / (MPP * 2**number)
            tiff.write(
                np.asarray(level),
                photometric="rgb",
                tile=(_TILE, _TILE),
                compression="jpeg",
                compressionargs={"level": _QUALITY},
                subsampling=(2, 2),
                resolution=(per_cm, per_cm),
                resolutionunit="CENTIMETER",
                subfiletype=int(number > 0),
                description=DESCRIPTION if number == 0 else None,
                metadata=None,
                software=False,
            )
            level = level.reduce(2)


def measure(tissue: Tissue, name: str, rng: np.random.Generator) -> anndata.AnnData:
    """Lay a Visium lattice over the tissue and count what its cells express.

    Returns
    -------
    AnnData
        Spots in the project's convention, with the truth beside them: ``obs["region"]`` and
        ``obsm["cell_types"]`` (fractions, in the order of ``uns["cell_types"]``), ``var["driven"]``.
    """
    side = len(tissue.region)
    rows, columns = int(side / (PITCH_UM * np.sqrt(3) / 2)), 2 * int(side / PITCH_UM)
    row, column = np.nonzero(np.indices((rows, columns)).sum(axis=0) % 2 == 0)
    xy = np.stack([(column + 0.5) * PITCH_UM / 2, (row + 0.5) * PITCH_UM * np.sqrt(3) / 2], axis=1)
    on_tissue = at(tissue.region, xy) != Region.GLASS
    xy, row, column = xy[on_tissue], row[on_tissue], column[on_tissue]
    fractions = composition(tissue, xy)
    obs = pd.DataFrame(
        {
            "in_tissue": True,
            "array_row": row,
            "array_col": column,
            "region": pd.Categorical([Region(place).name.lower() for place in at(tissue.region, xy)]),
        },
        index=[f"{name}_{r}x{c}" for r, c in zip(row, column, strict=True)],
    )
    counts = csr_matrix(draw_counts(fractions, rng))
    spots = anndata.AnnData(counts, obs=obs, var=pd.DataFrame({"driven": DRIVEN}, index=GENES))
    spots.obsm["spatial"] = xy / MPP
    spots.obsm["cell_types"] = fractions
    spots.uns["cell_types"] = list(CELL_TYPES)
    metadata = {"synthetic": True, "description": DESCRIPTION, "pixel_size_um": MPP, "spot_pitch_um": PITCH_UM}
    scalefactors = {"spot_diameter_fullres": SPOT_UM / MPP}
    spots.uns["spatial"] = {name: {"scalefactors": scalefactors, "metadata": metadata}}
    return spots
