"""The output of Space Ranger, version 1 to Visium HD's bins and segmented cells."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from napari_cmrcnet.common.errors import UserError, readable
from napari_cmrcnet.common.parquet import read_columns
from napari_cmrcnet.common.spaceranger_files import Output, find_output, parts_of
from napari_cmrcnet.common.text import count_text, open_packed, parse_json
from napari_cmrcnet.sections.formats.cell_outlines import read_outlines
from napari_cmrcnet.sections.formats.origin import Origin, mapping, platform_of, refuse_repeated, size_in
from napari_cmrcnet.sections.formats.tenx_matrix import read_matrix
from napari_cmrcnet.slides.source import PLAUSIBLE_MPP

_XY = ("pxl_col_in_fullres", "pxl_row_in_fullres")
_COLUMNS = {
    "in_tissue": int,
    "array_row": int,
    "array_col": int,
    "pxl_row_in_fullres": float,
    "pxl_col_in_fullres": float,
}


def read_spaceranger(path: Path, library: str = "") -> tuple[AnnData, Origin]:
    """Read a Space Ranger output, of which any file may be given: the filtered matrix (else the raw one) and positions.

    Of Visium HD, ``library`` chooses bins or cells, as `find_output` takes it.

    Raises
    ------
    UserError
        If a file is missing or damaged, or matrix and positions do not have the same barcodes.
    """
    output = find_output(path, library)
    assert output is not None, "the caller asked find_output"
    scalefactors = _scalefactors(output.scalefactors)
    cells = output.positions.suffix == ".geojson"
    positions = _cells(output.positions, scalefactors) if cells else read_positions(output.positions)
    counts, attributes = read_matrix(output.matrix)
    unknown = ~counts.obs_names.isin(positions.index)
    notes: list[str] = []
    if unknown.all() if cells else unknown.any():
        raise UserError(
            f"{output.matrix} and {output.positions} do not match: {unknown.sum()} of {len(unknown)} barcodes have no "
            f"position (first: {counts.obs_names[unknown][0]}); take both from the same run."
        )
    if unknown.any():
        notes.append(f"Dropped {count_text(int(unknown.sum()), 'cell', len(unknown))}: no outline.")
        counts = counts[~unknown].copy()
    spots = _spots(counts, positions.loc[counts.obs_names], scalefactors)
    return spots, _origin(path, output, attributes, scalefactors, library, notes)


def read_positions(path: Path) -> pd.DataFrame:
    """Read the positions of all spots of the array, indexed by barcode.

    ``tissue_positions_list.csv`` of version 1 has no header, files of that name with one exist too,
    ``tissue_positions.csv`` of version 2 has one, and Visium HD writes parquet.
    """
    columns = ", ".join(_COLUMNS)
    with readable(path, f"is not a table of spot positions with barcode, {columns}", "take it from Space Ranger"):
        if path.suffix == ".parquet":
            table = read_columns(path, {"barcode": str, **_COLUMNS})
        else:
            with open_packed(path) as stream:
                header = b"in_tissue" in stream.readline()
                stream.seek(0)
                names = None if header else ["barcode", *_COLUMNS]
                table = pd.read_csv(
                    stream, header=0 if header else None, names=names, encoding="utf-8-sig", index_col=False
                )
        table = table.set_index("barcode")[list(_COLUMNS)].astype(_COLUMNS)
    table.index = table.index.astype(str)
    refuse_repeated(path, table.index, "barcode")
    return table


def _scalefactors(path: Path | None) -> dict[str, float]:
    if path is None:
        return {}
    with readable(path, "is not readable JSON", "copy it again", (OSError, ValueError)), open_packed(path) as stream:
        content = mapping(parse_json(stream.read().decode("utf-8-sig")))
    return {name: size_in(value) for name, value in content.items()}


def _cells(path: Path, scalefactors: dict[str, float]) -> pd.DataFrame:
    """Return centre and, in µm², area of segmented cells; writes their median diameter into the scale factors."""
    outlines = read_outlines(path)
    table = outlines[["x", "y"]].set_axis(list(_XY), axis="columns")
    mpp = scalefactors.get("microns_per_pixel", 0.0)
    if PLAUSIBLE_MPP[0] <= mpp <= PLAUSIBLE_MPP[1]:
        table["cell_area"] = outlines["area"] * mpp**2
    scalefactors["spot_diameter_fullres"] = 2 * float(np.sqrt(outlines["area"].median() / np.pi))
    return table


def _spots(counts: AnnData, positions: pd.DataFrame, scalefactors: dict[str, float]) -> AnnData:
    return AnnData(
        X=counts.X,
        obs=positions.drop(columns=list(_XY)),
        var=counts.var,
        obsm={"spatial": positions[list(_XY)].to_numpy()},
        uns={"spatial": {"Space Ranger": {"scalefactors": scalefactors, "metadata": {}}}},
    )


def _origin(
    path: Path, output: Output, attributes: dict[str, Any], factors: dict[str, float], library: str, notes: list[str]
) -> Origin:
    software = str(attributes.get("software_version", ""))
    generation = "1" if "tissue_positions_list" in output.positions.name else "2"
    version = software.partition("-")[2] if software.startswith("spaceranger-") else generation
    mpp, bin_um = factors.get("microns_per_pixel", 0.0), factors.get("bin_size_um", 0.0)
    cells = output.positions.suffix == ".geojson"
    hd = bool(mpp or bin_um or output.positions.suffix in (".parquet", ".geojson"))
    folder = output.folder
    if hd and not library and folder not in (path, *path.parents) and (others := _others(path, folder)):
        what = "cells" if cells else f"bins of {bin_um:g} µm" if bin_um else folder.name
        notes = [*notes, f"The {what} of Visium HD were read; there are also {', '.join(others)}."]
    return Origin(
        source=f"Space Ranger {version}",
        path=path,
        platform="Visium HD" if hd else platform_of(str(attributes.get("chemistry_description", ""))) or "Visium",
        unit="cell" if cells else "bin" if hd else "spot",
        pitch_um=bin_um if hd and not cells else 0.0,
        given_mpp=mpp,
        given_mpp_source="Visium HD microns_per_pixel" if mpp else "",
        notes=tuple(notes),
    )


def _others(path: Path, chosen: Path) -> list[str]:
    return [part.name for start in (path, *path.parents[:1]) for part in parts_of(start) if part != chosen]
