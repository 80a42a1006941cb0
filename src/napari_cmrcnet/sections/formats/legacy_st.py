"""First-generation Spatial Transcriptomics: a table of counts and a ``*_selection.tsv`` of spot positions.

As the HER2+ breast study distributes it (Andersson et al. 2021, github.com/almaan/her2st): rows of the counts are
named ``10x21`` after array column and row (others: ``10.03x12.96``, where the spot really lies), and the selection has
``x y new_x new_y pixel_x pixel_y selected``. ``x, y`` are the printed spot's array indices, ``new_x, new_y`` where it
really lies in array units, ``pixel_x, pixel_y`` the same in pixels of the full-resolution image.
"""

from pathlib import Path

import pandas as pd
from anndata import AnnData
from scipy import sparse

from napari_cmrcnet.common.errors import UserError, readable
from napari_cmrcnet.common.text import count_text
from napari_cmrcnet.sections.formats.origin import Origin, refuse_repeated

COUNT_SUFFIXES = (".tsv", ".tsv.gz", ".csv", ".csv.gz")
_SELECTION = "_selection.tsv"
_ARRAY = {"array_row": "y", "array_col": "x"}
# Beside each other, or in the study's own folders.
_SELECTION_FOLDERS = (".", "../ST-spotfiles")
_COUNT_FOLDERS = (".", "../ST-cnts")


def find_pair(path: Path) -> tuple[Path, Path] | None:
    """Return (counts, selection) for a folder or either file; None if the path is nothing of the kind.

    Raises
    ------
    UserError
        If a folder has several sections, or one of the two files is missing.
    """
    if path.is_dir():
        selections = sorted(path.glob(f"*{_SELECTION}"))
        if len(selections) > 1:
            names = ", ".join(selection.name for selection in selections[:4])
            raise UserError(f"{path} holds several sections ({names}, …); give the counts file of one.")
        return (_counts_of(selections[0]), selections[0]) if selections else None
    if path.name.endswith(_SELECTION):
        return _counts_of(path), path
    if path.name.endswith(COUNT_SUFFIXES):
        name = path.name.split(".")[0] + _SELECTION
        for folder in _SELECTION_FOLDERS:
            if (path.parent / folder / name).is_file():
                return path, path.parent / folder / name
        raise UserError(
            f"{path} is neither a sheet of sections nor a file of spots; counts of first-generation Spatial "
            f"Transcriptomics need the spot positions beside them, in {name}."
        )
    return None


def _counts_of(selection: Path) -> Path:
    stem = selection.name.removesuffix(_SELECTION)
    for folder in _COUNT_FOLDERS:
        for suffix in COUNT_SUFFIXES:
            counts = selection.parent / folder / f"{stem}{suffix}"
            if counts.is_file():
                return counts
    raise UserError(f"{selection} needs the counts beside it, in {stem}.tsv or {stem}.tsv.gz.")


def read_legacy_st(path: Path) -> tuple[AnnData, Origin]:
    """Read counts and positions of the selected spots, in the order of the counts.

    Raises
    ------
    UserError
        If a table is damaged or the two have no spot in common.
    """
    pair = find_pair(path)
    assert pair is not None, "the caller asked find_pair"
    counts_path, selection_path = pair
    counts, selection = _read_counts(counts_path), _read_selection(selection_path)
    places = counts.index.map(_place)
    selection = _named(selection, places, selection_path)
    found = places.isin(selection.index)
    if not found.any():
        raise UserError(
            f"{counts_path} and {selection_path} do not match: no spot is in both; take both from one section."
        )
    notes = []
    if dropped := int((~found).sum()):
        notes.append(f"Dropped {count_text(dropped, 'spot', len(counts))}: not selected in {selection_path.name}.")
    if missing := len(selection) - int(found.sum()):
        notes.append(f"Left out {count_text(missing, 'spot')} of {selection_path.name}: no counts.")
    counts, selection = counts[found], selection.loc[places[found]]
    array = {name: selection[axis].round().astype(int).to_numpy() for name, axis in _ARRAY.items()}
    obs = pd.DataFrame({"in_tissue": True, **array}, index=counts.index)
    spots = AnnData(
        X=sparse.csr_matrix(counts.to_numpy()),
        obs=obs,
        var=pd.DataFrame(index=counts.columns),
        obsm={"spatial": selection[["pixel_x", "pixel_y"]].to_numpy(dtype=float)},
        uns={"spatial": {counts_path.name.split(".")[0]: {"scalefactors": {}, "metadata": {}}}},
    )
    origin = Origin("first-generation Spatial Transcriptomics", path, platform="ST", notes=tuple(notes))
    return spots, origin


def _read_counts(path: Path) -> pd.DataFrame:
    separator = "," if ".csv" in path.name else "\t"
    with readable(path, "is not a readable table of counts", "download it again"):
        counts = pd.read_csv(path, sep=separator, index_col=0)
        header = pd.read_csv(path, sep=separator, header=None, nrows=1, dtype=str).iloc[0]
    numeric = counts.dtypes.map(pd.api.types.is_numeric_dtype)
    if counts.empty or not numeric.all():
        raise UserError(f"{path} is not a table of counts with one row per spot and one column per gene.")
    counts.index = counts.index.astype(str)
    # pandas gave repeated and empty names a suffix; and a name to the row of names, which h5ad files cannot hold
    counts.columns = pd.Index(header.iloc[-counts.shape[1] :].to_numpy())
    refuse_repeated(path, counts.index, "spot")
    return counts


def _read_selection(path: Path) -> pd.DataFrame:
    """Return the selected spots."""
    with readable(path, "is not a table of spots with x, y, pixel_x and pixel_y"):
        table = pd.read_csv(path, sep="\t")
        if "selected" in table:
            table = table[table["selected"] == 1]
        table = table.astype({"x": float, "y": float, "pixel_x": float, "pixel_y": float})
        if not (table[["x", "y"]].abs() < 2**31).all(axis=None):
            raise ValueError("an array position is missing or impossible")
    return table


def _place(name: str) -> str:
    """Return a spot's name with its numbers written alike, ``10.00x21.00`` for ``10x21``; any other as it is."""
    try:
        column, row = (float(part) for part in name.split("x"))
    except ValueError:
        return name
    return f"{column:.2f}x{row:.2f}"


def _named(table: pd.DataFrame, places: pd.Index, path: Path) -> pd.DataFrame:
    """Index the selected spots by the columns, printed or real, after which the counts name more of them."""
    pairs = [pair for pair in (("x", "y"), ("new_x", "new_y")) if {*pair} <= {*table.columns}]
    indices = [(table[x].astype(str) + "x" + table[y].astype(str)).map(_place) for x, y in pairs]
    index = pd.Index(max(indices, key=lambda names: int(names.isin(places).sum())))
    refuse_repeated(path, index, "spot")
    return table.set_axis(index)
