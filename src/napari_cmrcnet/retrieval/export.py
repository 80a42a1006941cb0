"""A case for other programs: a table, and detections for QuPath."""

import csv
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_cmrcnet.common.files import atomic_file
from napari_cmrcnet.common.progress import Job, Progress
from napari_cmrcnet.common.spreadsheet import safe_text
from napari_cmrcnet.retrieval.case import Case, Float32

VALUES_A_PASS = 1 << 26  # held at a time: 256 MiB
GENES_A_PASS = 512  # computed between two signs of life
TEXTS_A_PASS = 1 << 19  # values written between two signs of life
CIRCLE_POINTS = 32


@dataclass(frozen=True)
class Wanted:
    """The genes that are written.

    Parameters
    ----------
    genes : tuple of str
        Symbols, each once.
    measured : tuple of str
        Those of them that were measured.
    predicted : tuple of str
        Those of them that are predicted.
    """

    genes: tuple[str, ...]
    measured: tuple[str, ...]
    predicted: tuple[str, ...]

    @classmethod
    def of(cls, case: Case, genes: Sequence[str] | None) -> "Wanted":
        """Take genes by symbol or Ensembl id; None is all.

        Raises
        ------
        UserError
            If a gene is not known.
        """
        prediction, names = case.prediction, case.all_names
        columns = range(len(case.genes)) if genes is None else [names.column(gene) for gene in genes]
        if missing := [gene for gene, column in zip(genes or (), columns, strict=False) if column is None]:
            (case.measured if prediction is None else prediction.expression)(missing)  # raises: what is missing of what
        chosen = [column for column in dict.fromkeys(columns) if column is not None]
        symbols = tuple(names.symbols[column] for column in chosen)
        predicted = tuple(names.symbols[column] for column in chosen if prediction and column < len(case.genes))
        known = case.measured_set.union(names.symbols[len(case.genes) :])
        return cls(symbols, tuple(gene for gene in symbols if gene in known), predicted)

    @property
    def columns(self) -> list[str]:
        """``GENE predicted`` of each gene that is, followed by ``GENE measured`` where it was."""
        kinds = {"predicted": set(self.predicted), "measured": set(self.measured)}
        return [f"{gene} {kind}" for gene in self.genes for kind, known in kinds.items() if gene in known]


def to_csv(case: Case, path: str | os.PathLike[str], genes: Sequence[str] | None = None) -> Job[Path]:
    """Write a row a spot: name, section, position, confidence, and expression.

    The position is in full-resolution pixels and, where the pixel's size is known, in µm. Expression is
    log-normalised: the column ``GENE predicted`` of each gene where it is predicted, ``GENE measured`` after it where
    it was measured. A text
    that a spreadsheet would run as a formula gets a leading ``'``; numbers stay numbers.

    Parameters
    ----------
    case : Case
        What to write.
    path : path
        The .csv file.
    genes : sequence of str, optional
        Symbols or Ensembl ids; all genes if not given.

    Raises
    ------
    UserError
        If a gene is not known or the file cannot be written.
    """
    path = Path(path)
    wanted = Wanted.of(case, genes)
    confidence = case.confidence()
    mpp = case.provenance.mpp
    position = position_columns(case.xy, (mpp, mpp) if mpp else None)
    section = safe_text(case.name)
    names = [safe_text(str(name)) for name in case.spots.obs_names]
    numbers = list(zip(*(values.tolist() for values in position.values()), *_texts_of(confidence), strict=True))
    with atomic_file(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["spot", "section", *position, *confidence.columns, *map(safe_text, wanted.columns)])

        def write(row: int, values: list[str]) -> None:
            writer.writerow([names[row], section, *numbers[row], *values])

        yield from _write_rows(case, wanted, f"Writing {path.name}", write)
    return path


def to_geojson(
    case: Case,
    path: str | os.PathLike[str],
    genes: Sequence[str] | None = None,
    corner: tuple[int, int] = (0, 0),
) -> Job[Path]:
    """Write spots as detections with measurements, which QuPath opens onto the slide.

    Circles of the spot's diameter in full-resolution pixels, with the columns of `to_csv` from the confidence on as
    measurements. All genes make a large file.

    Parameters
    ----------
    case, path, genes
        As of `to_csv`, which returns and raises the same.
    corner : (int, int)
        Where QuPath counts positions from, (x, y) in pixels of the whole image; see `qupath_corner`.
    """
    path = Path(path)
    wanted = Wanted.of(case, genes)
    confidence = case.confidence()
    keys = [json.dumps(key, ensure_ascii=False) for key in (*confidence.columns, *wanted.columns)]
    trust = list(zip(*_texts_of(confidence), strict=True)) or [()] * len(case)
    xy, diameter = case.xy - corner, case.spot_diameter
    with detections(path) as detect:

        def write(row: int, values: list[str]) -> None:
            name = json.dumps(str(case.spots.obs_names[row]), ensure_ascii=False)
            measurements = ", ".join(map("{}: {}".format, keys, (*trust[row], *values)))
            detect(xy[row], diameter, f'"name": {name}, "measurements": {{{measurements}}}')

        yield from _write_rows(case, wanted, f"Writing {path.name}", write)
    return path


Detect = Callable[[npt.NDArray[np.float64], float, str], None]


@contextmanager
def detections(path: Path) -> Iterator[Detect]:
    """Write a GeoJSON file of detections as QuPath opens them, whole or not at all.

    Gives what writes one: a circle of a centre (x, y) and a diameter, both in pixels, with properties as JSON without
    its braces.
    """
    angles = np.linspace(0, 2 * np.pi, CIRCLE_POINTS, endpoint=False)
    circle = 0.5 * np.column_stack([np.cos(angles), np.sin(angles)])
    with atomic_file(path) as temporary, open(temporary, "w", encoding="utf-8") as stream:
        stream.write('{"type": "FeatureCollection", "features": [')
        before = "\n"

        def detect(centre: npt.NDArray[np.float64], diameter: float, properties: str) -> None:
            nonlocal before
            ring = np.round(centre + diameter * circle, 2).tolist()
            stream.write(
                f'{before}{{"type": "Feature", "geometry": {{"type": "Polygon", "coordinates": [{[*ring, ring[0]]}]}}, '
                f'"properties": {{"objectType": "detection", {properties}}}}}'
            )
            before = ",\n"

        yield detect
        stream.write("\n]}\n")


def position_columns(
    xy: npt.NDArray[np.float64], mpp: tuple[float, float] | None
) -> dict[str, npt.NDArray[np.float64]]:
    """Return ``x`` and ``y`` in pixels and, where their size in x and y is known, ``x_um`` and ``y_um``."""
    pixels = dict(zip("xy", xy.T, strict=True))
    in_um = np.round(xy * mpp, 6).T if mpp else ()
    return pixels | dict(zip(("x_um", "y_um"), in_um, strict=False))


def _write_rows(case: Case, wanted: Wanted, step: str, write: Callable[[int, list[str]], None]) -> Job[None]:
    """Call ``write`` with each spot's row and its values as text, in the order of ``wanted.columns``."""
    n = len(case)
    rows = max(1, VALUES_A_PASS // max(1, len(wanted.columns)))
    for start in range(0, n, rows):
        values = np.empty((min(rows, n - start), len(wanted.columns)), np.float32)
        for share in _fill(case, wanted, slice(start, start + rows), values):
            yield Progress(step, start + int(share * len(values) / 2), n, "spots")
        few = max(1, TEXTS_A_PASS // max(1, values.shape[1]))
        for first in range(0, len(values), few):
            for row, texts in enumerate(_texts(values[first : first + few]), start + first):
                write(row, texts)
            yield Progress(step, start + (first + len(values)) // 2, n, "spots")
    yield Progress(step, n, n, "spots")


def _fill(case: Case, wanted: Wanted, spots: slice, values: Float32) -> Iterator[float]:
    """Put the values of some spots into a matrix; yield the share that is done."""
    kinds = [set(wanted.predicted), set(wanted.measured)]
    has = np.array([[gene in known for gene in wanted.genes] for known in kinds], bool)
    first = np.cumsum(has.sum(axis=0)) - has.sum(axis=0)  # the first column of each gene
    at = [first, first + has[0]]
    for start in range(0, len(first), GENES_A_PASS):
        block = slice(start, start + GENES_A_PASS)
        genes = wanted.genes[block]
        predicted, measured = ([gene for gene in genes if gene in known] for known in kinds)
        if case.prediction is not None and predicted:
            values[:, at[0][block][has[0][block]]] = case.prediction.expression(predicted, spots)
        if measured:
            values[:, at[1][block][has[1][block]]] = np.asarray(case.measured(measured))[spots]
        yield (start + len(genes)) / len(first)


def _texts(values: Float32) -> Iterator[list[str]]:
    """Yield each row as the shortest decimals that read back as its float32 values."""
    import pyarrow

    texts = pyarrow.array(values.ravel()).cast(pyarrow.string()).to_pylist()
    rows, width = values.shape
    for row in range(rows):
        yield texts[row * width : (row + 1) * width]


def _texts_of(table: Any) -> list[list[str]]:
    """Return each column of a table of numbers as text."""
    return [[str(value) for value in table[column].to_numpy()] for column in table.columns]
