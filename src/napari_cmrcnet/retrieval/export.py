"""A case for other programs: a table, and detections for QuPath."""

import csv
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import compress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.files import atomic_file
from napari_cmrcnet.common.progress import Job, Progress
from napari_cmrcnet.common.spreadsheet import safe_text
from napari_cmrcnet.retrieval.case import Case, Float32

VALUES_A_PASS = 1 << 25  # held at a time, twice for a moment: 256 MiB
GENES_A_PASS = 512  # computed between two signs of life
TEXTS_A_PASS = 1 << 19  # values written between two signs of life
CIRCLE_POINTS = 32
LAYERS = "predicted", "measured"


@dataclass(frozen=True)
class Wanted:
    """The genes that are written.

    Parameters
    ----------
    genes : tuple of str
        Symbols, each once.
    predicted, measured : frozenset of str
        Those of them that are predicted, and that were measured.
    """

    genes: tuple[str, ...]
    predicted: frozenset[str]
    measured: frozenset[str]

    @classmethod
    def of(cls, case: Case, genes: Sequence[str] | None) -> "Wanted":
        """Take genes by symbol or Ensembl id; None is all.

        Raises
        ------
        UserError
            If a gene is not known, or the list is empty.
        """
        prediction, names = case.prediction, case.all_names
        columns = range(len(case.genes)) if genes is None else [names.column(gene) for gene in genes]
        if missing := [gene for gene, column in zip(genes or (), columns, strict=False) if column is None]:
            (case.measured if prediction is None else prediction.expression)(missing)  # raises: what is missing of what
        chosen = [column for column in dict.fromkeys(columns) if column is not None]
        if not chosen:
            raise UserError("No gene was given to write; give at least one, or None for all.")
        symbols = tuple(names.symbols[column] for column in chosen)
        predicted = frozenset(symbols).intersection(() if prediction is None else prediction.genes)
        return cls(symbols, predicted, case.measured_set.union(names.symbols[len(case.genes) :]).intersection(symbols))

    @property
    def layers(self) -> list[str]:
        """Those of `LAYERS` that have a value; programs find the first as ``X``."""
        return [layer for layer in LAYERS if getattr(self, layer)]

    @property
    def columns(self) -> list[str]:
        """``GENE predicted`` of each gene that is, followed by ``GENE measured`` where it was."""
        return [f"{gene} {layer}" for gene in self.genes for layer in LAYERS if gene in getattr(self, layer)]

    def blocks(self, case: Case, spots: slice = slice(None)) -> Iterator[tuple[slice, dict[str, Float32]]]:
        """Yield some genes at a time, as a slice of `genes`, and their values by layer, float32 (spots, some genes).

        The layers are `LAYERS`; NaN where a gene is not predicted, or was not measured. The next genes are written over
        these, so that only one block is in memory.
        """
        room = np.empty((len(LAYERS), len(case.xy[spots]), min(len(self.genes), GENES_A_PASS)), np.float32)
        for start in range(0, len(self.genes), GENES_A_PASS):
            genes = self.genes[start : start + GENES_A_PASS]
            values = dict(zip(LAYERS, room[..., : len(genes)], strict=True))
            room.fill(np.nan)
            predicted, measured = ([gene in known for gene in genes] for known in (self.predicted, self.measured))
            if case.prediction is not None and any(predicted):
                values["predicted"][:, predicted] = case.prediction.expression(list(compress(genes, predicted)), spots)
            if any(measured):
                values["measured"][:, measured] = np.asarray(case.measured(list(compress(genes, measured))))[spots]
            yield slice(start, start + len(genes)), values


def to_csv(case: Case, path: str | os.PathLike[str], genes: Sequence[str] | None = None) -> Job[Path]:
    """Write one row per spot: name, section, position, confidence, and expression.

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
        If a gene is not known, the list is empty or the file cannot be written.
    """
    path = Path(path)
    wanted = Wanted.of(case, genes)
    confidence = case.confidence()
    mpp = case.provenance.mpp
    position = position_columns(case.xy, (mpp, mpp) if mpp else None)
    section = safe_text(case.name)
    names = [safe_text(str(name)) for name in case.spots.obs_names]
    places = list(zip(*(values.tolist() for values in position.values()), strict=True))
    trust = confidence.astype(str).to_numpy().tolist()
    with atomic_file(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["spot", "section", *position, *confidence.columns, *map(safe_text, wanted.columns)])

        def write(row: int, values: list[str]) -> None:
            writer.writerow([names[row], section, *places[row], *trust[row], *values])

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
    trust = confidence.astype(str).to_numpy().tolist()
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
        spots = slice(start, min(start + rows, n))
        parts = [np.empty((spots.stop - start, 0), np.float32)]
        for block, layers in wanted.blocks(case, spots):
            side_by_side = np.stack([layers[layer] for layer in LAYERS], axis=2).reshape(len(parts[0]), -1)
            known = [gene in getattr(wanted, layer) for gene in wanted.genes[block] for layer in LAYERS]
            parts.append(side_by_side[:, known])
            yield Progress(step, start + len(parts[0]) * block.stop // len(wanted.genes) // 2, n, "spots")
        values = np.hstack(parts)
        few = max(1, TEXTS_A_PASS // max(1, values.shape[1]))
        for first in range(0, len(values), few):
            for row, texts in enumerate(_texts(values[first : first + few]), start + first):
                write(row, texts)
            yield Progress(step, start + (first + len(values)) // 2, n, "spots")
    yield Progress(step, n, n, "spots")


def _texts(values: Float32) -> Iterator[list[str]]:
    """Yield each row as the shortest decimals that read back as its float32 values."""
    import pyarrow

    texts = pyarrow.array(values.ravel()).cast(pyarrow.string()).to_pylist()
    rows, width = values.shape
    for row in range(rows):
        yield texts[row * width : (row + 1) * width]
