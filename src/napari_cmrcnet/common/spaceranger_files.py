"""Which files of a Space Ranger output belong together, whichever of them is given.

10x Genomics puts the sample's name before the files that it offers for download, GEO the accession as well
(``GSM123_A_filtered_feature_bc_matrix.h5``), and both may lie beside each other instead of in ``spatial/``.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from napari_cmrcnet.common.errors import UserError, readable

DEFAULT_BIN = "square_016um"
CELLS = "segmented_outputs"
_BINS = "binned_outputs"
_MATRIX = re.compile(r"(.*?)(filtered|raw)_feature_(?:bc|cell)_matrix(\.h5)?")
_MTX = re.compile(r"(.*?)matrix\.mtx(\.gz)?")
_POSITIONS = re.compile(
    r"(.*?)(?:tissue_positions(_list)?\.(parquet|csv)(\.gz)?|(?<!annotated_)cell_segmentations\.geojson)"
)
_OF_CELLS = re.compile(r"cell_segmentations\.geojson|feature_cell_matrix")
_SCALEFACTORS = re.compile(r"(.*?)scalefactors_json\.json(\.gz)?")
_PART_OF_MTX = re.compile(r"(.*?)(barcodes|features|genes)\.tsv(\.gz)?")
_PICTURE = re.compile(r"(.*?)((tissue|cytassist)_\w*image|aligned_\w+|detected_tissue_image)\.(png|jpe?g|tiff?)(\.gz)?")
_OTHER = re.compile(r"(.*?)(molecule_info\.h5|cloupe\.cloupe|web_summary\.html|metrics_summary\.csv)")
_FILES = (_MATRIX, _MTX, _POSITIONS, _SCALEFACTORS, _PART_OF_MTX, _PICTURE, _OTHER)
_SPATIAL = re.compile(r"(.*?)spatial")
MATRIX_FILES = "filtered_feature_bc_matrix.h5, filtered_feature_bc_matrix/, matrix.mtx.gz"
POSITION_FILES = "tissue_positions.csv, tissue_positions_list.csv, tissue_positions.parquet"
MATRIX_OF_CELLS, OUTLINES = "filtered_feature_cell_matrix.h5", "cell_segmentations.geojson"
_BIN_NAME = re.compile(r"(?:square_)?0*(\d+) ?(?:[uµμ]m)?")


@dataclass(frozen=True)
class Output:
    """The files of one section.

    Parameters
    ----------
    folder : Path
        The folder that they are of.
    matrix : Path
        ``*_feature_bc_matrix.h5``, or ``matrix.mtx`` with its barcodes and features beside it.
    positions : Path
        ``tissue_positions*``, of segmented cells ``cell_segmentations.geojson``.
    scalefactors : Path, optional
        ``scalefactors_json.json``.
    """

    folder: Path
    matrix: Path
    positions: Path
    scalefactors: Path | None


@dataclass(frozen=True, order=True)
class _Piece:
    """A file, whose sample it is (``""``: not said), and how many kinds are preferred to it."""

    rank: int
    path: Path
    sample: str


@dataclass(frozen=True)
class _Home:
    """A folder with the matrices, positions and scale factors in it and its parts."""

    folder: Path
    matrices: list[_Piece]
    positions: list[_Piece]
    scalefactors: list[_Piece]


def is_picture(path: Path) -> bool:
    """Whether a file is named as Space Ranger's pictures of the tissue are."""
    return _PICTURE.fullmatch(path.name) is not None


def is_part(path: Path) -> bool:
    """Whether a file or folder is named as one in an output is."""
    kinds = (_MATRIX, _SPATIAL) if path.is_dir() else (_MATRIX, _MTX, _POSITIONS, _SCALEFACTORS, _PICTURE, _OTHER)
    return any(kind.fullmatch(path.name) for kind in kinds)


def find_output(path: Path, part: str = "") -> Output | None:
    """Find matrix, positions and scale factors of the one section that a path is of.

    Parameters
    ----------
    path : Path
        The output folder, one that has it as ``outs``, its ``spatial`` or matrix folder, or any file in these: matrix,
        positions, scale factors, a picture of the tissue. What is given itself is taken before what it stands beside.
    part : str
        Which bins of Visium HD (``"square_008um"``, ``"8"``, ``"8 µm"``), or its cells (``"segmented_outputs"``,
        ``"cells"``); ``""`` takes those of 16 µm, or the only ones.

    Returns
    -------
    Output or None
        None where the path is nothing of the kind.

    Raises
    ------
    UserError
        If the files of several sections or bins are there, or matrix or positions are missing.
    """
    if path.is_file() and not any(kind.fullmatch(path.name) for kind in _FILES):
        return None
    with readable(path, "cannot be looked into", errors=(OSError,)):
        homes = [home for folder in _folders(path) if (home := _home(folder)).matrices or home.positions]
    if not homes or part:
        return _from_parts(path, part, plain=bool(homes))
    home = next((home for home in homes if home.matrices and home.positions), homes[0])
    if not home.matrices:
        of_cells = any(map(_of_cells, home.positions))
        names, beside = (MATRIX_OF_CELLS, "cells' outlines") if of_cells else (MATRIX_FILES, "spots' positions")
        found = home.positions[0].path.name
        raise UserError(f"{home.folder} has {found}, but no count matrix ({names}); copy one beside the {beside}.")
    if not home.positions:
        raise _no_positions(home)
    return _choose(path, home)


def parts_of(path: Path) -> list[Path]:
    """Return the folders of Visium HD's bins and of its cells in a folder, or in its ``outs``."""
    if path.name == _BINS:
        return [folder for folder in sorted(path.glob("square_*")) if folder.is_dir()]
    bins = [folder for place in (path, path / "outs") if (place / _BINS).is_dir() for folder in parts_of(place / _BINS)]
    return [*bins, *(folder / CELLS for folder in (path, path / "outs") if (folder / CELLS).is_dir())]


def holds_output(folder: Path) -> bool:
    """Whether a folder is or has an output with matrix or positions, whole or not, of one section or of several."""
    homes = (_home(place) for place in _folders(folder))
    return any(home.matrices or home.positions for home in homes) or bool(parts_of(folder))


def _from_parts(path: Path, part: str, plain: bool) -> Output | None:
    parts = next((found for folder in _starts(path) if (found := parts_of(folder))), [])
    if not parts and not plain:
        return None
    named = {folder.name: folder for folder in parts}
    wanted = (
        CELLS if part == "cells" else f"square_{int(size[1]):03d}um" if (size := _BIN_NAME.fullmatch(part)) else part
    )
    chosen = named.get(wanted or DEFAULT_BIN, parts[0] if len(parts) == 1 and not part else None)
    if chosen is not None:
        return find_output(chosen)
    held = ", ".join(named)
    if not named:
        raise UserError(f"{path} holds one section only; leave the name of the section out.", "library")
    if part:
        raise UserError(f"{path} holds no {part!a}, but {held}; choose one of these.", "library", named)
    raise UserError(f"{path} holds several bins of Visium HD, or its cells ({held}); choose one.", "library", named)


def _starts(path: Path) -> list[Path]:
    """Return the folder that is given, or that a file is in, and the one above where that is a part of an output."""
    folder = path if path.is_dir() else path.parent
    if not folder.name:  # "."
        folder = folder.absolute()
    is_part = _SPATIAL.fullmatch(folder.name) or _MATRIX.fullmatch(folder.name)
    return [folder, folder.parent] if is_part else [folder]


def _folders(path: Path) -> Iterator[Path]:
    for start in _starts(path):
        yield start
        if (start / "outs").is_dir():
            yield start / "outs"


def _home(folder: Path) -> _Home:
    """List the pieces in a folder and in its ``spatial`` and matrix folders."""
    matrices, positions, scalefactors = [], [], []
    for file, of_folder, raw in _files(folder):
        if found := _MATRIX.fullmatch(file.name):
            matrices.append(_Piece(2 * (found[2] == "raw"), file, _sample(found[1]) or of_folder))
        elif found := _MTX.fullmatch(file.name):
            matrices.append(_Piece(2 * raw + 1, file, _sample(found[1]) or of_folder))
        elif found := _POSITIONS.fullmatch(file.name):
            positions.append(_Piece((found[3] == "csv") + (found[2] is not None), file, _sample(found[1]) or of_folder))
        elif found := _SCALEFACTORS.fullmatch(file.name):
            scalefactors.append(_Piece(0, file, _sample(found[1]) or of_folder))
    return _Home(folder, sorted(matrices), sorted(positions), sorted(scalefactors))


def _files(folder: Path) -> Iterator[tuple[Path, str, bool]]:
    """Yield each file with the sample that its folder is named after, and whether that is the raw matrix's."""
    for entry in sorted(folder.iterdir()):
        part = _MATRIX.fullmatch(entry.name) or _SPATIAL.fullmatch(entry.name)
        if entry.is_file():
            yield entry, "", False
        elif part is not None:
            raw = part.re is _MATRIX and part[2] == "raw"
            yield from ((file, _sample(part[1]), raw) for file in sorted(entry.iterdir()) if file.is_file())


def _sample(prefix: str) -> str:
    """Return the sample that a prefix names: ``GSM1_A`` for ``GSM1_A_spatial_``."""
    return re.sub(r"[\W_]*(spatial)?[\W_]*$", "", prefix)


def _choose(path: Path, home: _Home) -> Output:
    """Return the files of one section: those given, and the best of the others that may be of the same sample."""
    kinds = [_given(path, home, pieces) for pieces in (home.matrices, home.positions, home.scalefactors)]
    matrices, positions, scalefactors = kinds
    pairs = [(m, p) for m in matrices for p in positions if _fit(m, p) and _of_cells(m) == _of_cells(p)]
    pairs = [(m, p) for m, p in pairs if m.sample == p.sample] or pairs
    if not pairs:
        raise UserError(
            f"{matrices[0].path} and {positions[0].path} are of different samples, by their names; put matrix and "
            "positions of one sample into one folder."
        )
    samples = sorted({(m.sample, p.sample) for m, p in pairs})
    if len(samples) > 1:
        names = ", ".join(m or p for m, p in samples)
        raise UserError(f"{path} holds several sections ({names}); give the matrix file of one.")
    matrix, place = min(pairs)
    factors = [piece for piece in scalefactors if _fit(piece, matrix) and _fit(piece, place)]
    factors.sort(key=lambda piece: piece.sample not in (matrix.sample, place.sample))
    return Output(home.folder, matrix.path, place.path, factors[0].path if factors else None)


def _given(path: Path, home: _Home, pieces: list[_Piece]) -> list[_Piece]:
    """Keep what is given, or lies in the folder that is given; else what may be of its sample."""
    if path == home.folder:
        return pieces
    if itself := [piece for piece in pieces if path in (piece.path, piece.path.parent)]:
        return itself
    found = next((match for kind in (*_FILES, _SPATIAL) if (match := kind.fullmatch(path.name))), None)
    sample = _sample(found[1]) if found is not None else ""
    return [piece for piece in pieces if not sample or piece.sample in ("", sample)]


def _fit(one: _Piece, other: _Piece) -> bool:
    """Whether two files may be of one sample: they name the same, or one of them names none."""
    return one.sample == other.sample or not one.sample or not other.sample


def _of_cells(piece: _Piece) -> bool:
    """Whether a matrix or positions are of segmented cells."""
    return _OF_CELLS.search(f"{piece.path.parent.name}/{piece.path.name}") is not None


def _no_positions(home: _Home) -> UserError:
    matrix = home.matrices[0]
    if _of_cells(matrix):
        return UserError(f"{matrix.path} has no outlines of its cells beside it ({OUTLINES}); copy that file there.")
    packed = next((file.name for file in sorted(home.folder.iterdir()) if _is_packed(file.name)), "")
    advice = f"unpack {packed} there" if packed else "copy the folder spatial of the same run beside it"
    return UserError(
        f"{matrix.path} has no spot positions beside it ({POSITION_FILES}), as Space Ranger writes them; {advice}."
    )


def _is_packed(name: str) -> bool:
    return "spatial" in name.casefold() and name.casefold().endswith((".tar.gz", ".tgz", ".tar", ".zip"))
