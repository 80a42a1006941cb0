"""The output of Space Ranger, version 1 to Visium HD's bins."""

from pathlib import Path
from typing import Any

import pandas as pd
from anndata import AnnData

from napari_cmrcnet.common.errors import UserError, cannot_read, first_line
from napari_cmrcnet.common.parquet import read_columns
from napari_cmrcnet.common.spaceranger_files import Output, find_output
from napari_cmrcnet.common.text import parse_json
from napari_cmrcnet.sections.formats.origin import Origin, mapping, number, platform_of
from napari_cmrcnet.sections.formats.tenx_matrix import open_text, read_matrix

_COLUMNS = {
    "in_tissue": int,
    "array_row": int,
    "array_col": int,
    "pxl_row_in_fullres": float,
    "pxl_col_in_fullres": float,
}


def read_spaceranger(path: Path) -> tuple[AnnData, Origin]:
    """Read a Space Ranger output, of which any file may be given: the filtered matrix (else the raw one) and positions.

    Raises
    ------
    UserError
        If a file is missing or damaged, or matrix and positions do not have the same barcodes.
    """
    output = find_output(path)
    assert output is not None, "the caller asked find_output"
    positions = read_positions(output.positions)
    counts, attributes = read_matrix(output.matrix)
    unknown = ~counts.obs_names.isin(positions.index)
    if unknown.any():
        raise UserError(
            f"{output.matrix} and {output.positions} do not match: {unknown.sum()} of {len(unknown)} barcodes have no "
            f"position (first: {counts.obs_names[unknown][0]}); take both from the same run."
        )
    scalefactors = _scalefactors(output.scalefactors)
    spots = _spots(counts, positions.loc[counts.obs_names], scalefactors)
    return spots, _origin(path, output, attributes, scalefactors)


def read_positions(path: Path) -> pd.DataFrame:
    """Read the positions of all spots of the array, indexed by barcode.

    ``tissue_positions_list.csv`` of version 1 has no header, files of that name with one exist too,
    ``tissue_positions.csv`` of version 2 has one, and Visium HD writes parquet.
    """
    try:
        if path.suffix == ".parquet":
            table = read_columns(path, {"barcode": str, **_COLUMNS})
        else:
            with open_text(path) as stream:
                header = b"in_tissue" in stream.readline()
                stream.seek(0)
                names = None if header else ["barcode", *_COLUMNS]
                table = pd.read_csv(
                    stream, header=0 if header else None, names=names, encoding="utf-8-sig", index_col=False
                )
        table = table.set_index("barcode")[list(_COLUMNS)].astype(_COLUMNS)
    except UserError:
        raise
    except Exception as error:  # pandas and pyarrow raise whatever the damaged part meets
        no_table = (
            f"{path} is not a table of spot positions (barcode, {', '.join(_COLUMNS)}); take it from Space Ranger."
        )
        raise cannot_read(path, error, no_table) from error
    table.index = table.index.astype(str)
    if not table.index.is_unique:
        raise UserError(f"{path} has a barcode twice ({table.index[table.index.duplicated()][0]}).")
    return table


def _scalefactors(path: Path | None) -> dict[str, float]:
    if path is None:
        return {}
    try:
        with open_text(path) as stream:
            content = mapping(parse_json(stream.read().decode("utf-8-sig")))
    except (OSError, ValueError) as error:
        unreadable = f"{path} is not readable JSON ({first_line(error)}); copy it again."
        raise cannot_read(path, error, unreadable) from error
    return {name: number(value) for name, value in content.items()}


def _spots(counts: AnnData, positions: pd.DataFrame, scalefactors: dict[str, float]) -> AnnData:
    obs = positions[["in_tissue", "array_row", "array_col"]]
    xy = positions[["pxl_col_in_fullres", "pxl_row_in_fullres"]].to_numpy()
    return AnnData(
        X=counts.X,
        obs=obs,
        var=counts.var[[name for name in ("gene_ids", "feature_types") if name in counts.var]],
        obsm={"spatial": xy},
        uns={"spatial": {"Space Ranger": {"scalefactors": scalefactors, "metadata": {}}}},
    )


def _origin(path: Path, output: Output, attributes: dict[str, Any], scalefactors: dict[str, float]) -> Origin:
    software = str(attributes.get("software_version", ""))
    generation = "1" if "tissue_positions_list" in output.positions.name else "2"
    version = software.partition("-")[2] if software.startswith("spaceranger-") else generation
    mpp, bin_um = scalefactors.get("microns_per_pixel", 0.0), scalefactors.get("bin_size_um", 0.0)
    hd = bool(mpp or bin_um or output.positions.suffix == ".parquet")
    notes: tuple[str, ...] = ()
    folder = output.folder
    if hd and folder.name.startswith("square_") and folder not in (path, *path.parents):
        size = f"{bin_um:g} µm" if bin_um else folder.name
        notes = (f"Of Visium HD's bins those of {size} were read; give another folder of {folder.parent.name}.",)
    return Origin(
        source=f"Space Ranger {version}",
        path=path,
        platform="Visium HD" if hd else platform_of(str(attributes.get("chemistry_description", ""))) or "Visium",
        unit="bin" if hd else "spot",
        pitch_um=bin_um if hd else 0.0,
        given_mpp=mpp,
        given_mpp_source="Visium HD microns_per_pixel" if mpp else "",
        notes=notes,
    )
