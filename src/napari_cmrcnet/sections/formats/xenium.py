"""The output of Xenium (Xenium Onboard Analysis 1 to 4): cells, placed on the H&E image that was made afterwards.

Xenium counts in µm from the corner of its own morphology image. An H&E image of the same section is aligned to that
image in Xenium Explorer, which saves a 3 × 3 matrix: it takes (x, y, 1) in pixels of the H&E image to pixels of the
morphology image (10x Genomics, *How can I convert coordinates between H&E image and Xenium data?*).
"""

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from napari_cmrcnet.common.errors import UserError, cannot_read, readable
from napari_cmrcnet.common.parquet import read_columns
from napari_cmrcnet.common.text import count_text, open_packed, parse_json, read_text
from napari_cmrcnet.common.xenium_files import MANIFEST, Bundle, find_bundle
from napari_cmrcnet.sections.formats.origin import Origin, mapping, refuse_repeated, size_in
from napari_cmrcnet.sections.formats.tenx_matrix import read_matrix

_POSITION = {"cell_id": str, "x_centroid": float, "y_centroid": float}
_AREAS = {"cell_area": float, "nucleus_area": float}  # µm²
KEYPOINTS = ("fixedX", "fixedY", "alignmentX", "alignmentY")  # of the morphology image, and of the other; pixels
FEWEST_KEYPOINTS = 3  # an affine map has six unknowns


def read_xenium(path: Path) -> tuple[AnnData, Origin]:
    """Read the cells of a Xenium output, of which any file may be given, in pixels of its H&E image.

    Raises
    ------
    UserError
        If a file is missing or damaged, matrix and cells do not match, or the H&E image was not aligned.
    """
    bundle = find_bundle(path)
    assert bundle is not None, "the caller asked find_bundle"
    manifest = bundle.folder / MANIFEST
    about = _manifest(manifest)
    pixel_um = size_in(about.get("pixel_size"))
    if not pixel_um:
        raise UserError(f"{manifest} has no pixel_size; copy it from Xenium's output again.")
    to_morphology, notes = _alignment(bundle)
    cells = _cells(bundle.cells)
    counts, _ = read_matrix(bundle.matrix)
    unknown = ~counts.obs_names.isin(cells.index)
    if unknown.any():
        raise UserError(
            f"{bundle.matrix} and {bundle.cells} do not match: no position for "
            f"{count_text(int(unknown.sum()), 'cell', len(unknown))} (first: {counts.obs_names[unknown][0]}); take "
            "both from the same run."
        )
    mpp = pixel_um * float(np.sqrt(abs(np.linalg.det(to_morphology[:2, :2]))))
    spots = _spots(counts, cells.loc[counts.obs_names], pixel_um, mpp, to_morphology)
    software = str(about.get("analysis_sw_version", ""))
    origin = Origin(
        source=" ".join(filter(None, ["Xenium", software.removeprefix("xenium-")])),
        path=path,
        platform="Xenium",
        unit="cell",
        given_mpp=mpp,
        given_mpp_source=f"Xenium's pixel size and {bundle.alignment.name if bundle.alignment else ''}",
        notes=notes,
    )
    return spots, origin


def _manifest(path: Path) -> dict[str, Any]:
    with readable(path, "is not readable JSON", "copy it from Xenium's output again", (OSError, ValueError)):
        return dict(mapping(parse_json(read_text(path))))


def _cells(path: Path) -> pd.DataFrame:
    """Read positions and areas in µm and µm², by the cell's name."""
    columns = ", ".join(_POSITION)
    with readable(path, f"is not a table of cells with {columns}", "copy it from Xenium's output again"):
        if path.suffix == ".parquet":
            table = read_columns(path, _POSITION, _AREAS)
        else:
            with open_packed(path) as stream:
                known = {**_POSITION, **_AREAS}
                table = pd.read_csv(stream, usecols=lambda name: name in known, dtype=known)
        table = table.set_index("cell_id")
        xy = table[["x_centroid", "y_centroid"]]
    refuse_repeated(path, table.index, "cell")
    if not np.isfinite(xy.to_numpy()).all():
        raise UserError(f"{path} has cells without a position; copy it from Xenium's output again.")
    return table


def _spots(
    counts: AnnData, cells: pd.DataFrame, pixel_um: float, mpp: float, to_morphology: NDArray[np.float64]
) -> AnnData:
    morphology = cells[["x_centroid", "y_centroid"]].to_numpy(np.float64) / pixel_um
    xy = np.linalg.solve(to_morphology[:2, :2], (morphology - to_morphology[:2, 2]).T).T
    obs = cells[[name for name in _AREAS if name in cells]]
    area = size_in(obs["cell_area"].median()) if "cell_area" in obs else 0.0
    factors = {"spot_diameter_fullres": 2 * np.sqrt(area / np.pi) / mpp}
    return AnnData(
        X=counts.X,
        obs=obs.set_axis(counts.obs_names),
        var=counts.var,
        obsm={"spatial": xy},
        uns={"spatial": {"Xenium": {"scalefactors": factors, "metadata": {}}}},
    )


def _alignment(bundle: Bundle) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Return the matrix (3, 3) from pixels of the H&E image to those of the morphology image, and what to know of it.

    Raises
    ------
    UserError
        If there is none, or it is no such matrix.
    """
    if bundle.alignment is None:
        raise UserError(
            f"{bundle.folder} does not say how its H&E image is aligned to Xenium's own: there is no "
            "*imagealignment.csv in it or beside it; align the image in Xenium Explorer, and save the matrix there."
        )
    path = bundle.alignment
    try:
        rows = [row for row in csv.reader(io.StringIO(read_text(path))) if any(cell.strip() for cell in row)]
        if rows and set(KEYPOINTS) <= {cell.strip() for cell in rows[0]}:
            matrix, away = _from_keypoints(rows)
            notes: tuple[str, ...] = (f"Cells were placed by the {len(rows) - 1} keypoints of {path.name}: {away}.",)
        else:
            matrix, notes = np.array([[float(cell) for cell in row] for row in rows]), ()
    except (OSError, ValueError, csv.Error) as error:
        raise cannot_read(path, error, _no_matrix(path)) from error
    turns = matrix.shape == (3, 3) and np.isfinite(matrix).all() and np.allclose(matrix[2], [0, 0, 1], atol=1e-9)
    if not turns or abs(np.linalg.det(matrix[:2, :2])) < 1e-9:
        raise UserError(_no_matrix(path))
    return matrix, notes


def _no_matrix(path: Path) -> str:
    return (
        f"{path} is not an alignment of an H&E image (three lines of three numbers, the last 0,0,1, or the columns "
        f"{', '.join(KEYPOINTS)} with {FEWEST_KEYPOINTS} points or more); save it in Xenium Explorer again."
    )


def _from_keypoints(rows: list[list[str]]) -> tuple[NDArray[np.float64], str]:
    """Fit an affine map to keypoints by least squares; return it and how far from it they lie."""
    columns = [[cell.strip() for cell in rows[0]].index(name) for name in KEYPOINTS]
    points = np.array([[float(row[column]) for column in columns] for row in rows[1:] if len(row) > max(columns)])
    if len(points) < FEWEST_KEYPOINTS or not np.isfinite(points).all():
        raise ValueError("too few keypoints")
    fixed, moving = points[:, :2], np.column_stack([points[:, 2:], np.ones(len(points))])
    steps, _, rank, _ = np.linalg.lstsq(moving, fixed, rcond=None)
    if rank < 3:
        raise ValueError("the keypoints lie on one line")
    away = float(np.sqrt(np.mean(np.sum((moving @ steps - fixed) ** 2, axis=1))))
    return np.vstack([steps.T, [0.0, 0.0, 1.0]]), f"they fit to {away:.1f} pixels of Xenium's own image"
