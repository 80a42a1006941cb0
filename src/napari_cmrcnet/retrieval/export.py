"""A prediction for other programs: a table, and detections for QuPath."""

import csv
import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from napari_cmrcnet.common.files import atomic_file
from napari_cmrcnet.retrieval.prediction import Float32, Prediction

SPOTS_A_PASS = 1024  # all genes of so many spots are held at a time
CIRCLE_POINTS = 32
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def to_csv(prediction: Prediction, path: str | os.PathLike[str], genes: Sequence[str] | None = None) -> None:
    """Write a row a spot: name, section, position, confidence, and predicted log-normalised expression.

    A text that a spreadsheet would run as a formula (it starts with ``=``, ``+``, ``-``, ``@``, tab or return) gets a
    leading ``'``; numbers stay numbers.

    Parameters
    ----------
    prediction : Prediction
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
    genes = prediction.genes if genes is None else genes
    confidence = prediction.confidence()
    header = ["spot", "section", "x", "y", *confidence.columns, *map(_safe_text, genes)]
    section = _safe_text(prediction.name)
    with atomic_file(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(header)
        for row, values in _rows(prediction, genes):
            x, y = prediction.xy[row].tolist()
            name = _safe_text(str(prediction.spots.obs_names[row]))
            trust = [_short(value) for value in confidence.iloc[row]]
            writer.writerow([name, section, x, y, *trust, *map(_short, values)])


def to_geojson(prediction: Prediction, path: str | os.PathLike[str], genes: Sequence[str] | None = None) -> None:
    """Write spots as detections with measurements, which QuPath opens onto the slide.

    Circles of the spot's diameter in full-resolution pixels; each gene is a measurement.

    Parameters
    ----------
    prediction : Prediction
        What to write.
    path : path
        The .geojson file.
    genes : sequence of str, optional
        Symbols or Ensembl ids; all genes if not given, which makes a large file.

    Raises
    ------
    UserError
        If a gene is not known or the file cannot be written.
    """
    genes = prediction.genes if genes is None else genes
    confidence = prediction.confidence()
    (library,) = prediction.spots.uns["spatial"].values()
    angles = np.linspace(0, 2 * np.pi, CIRCLE_POINTS, endpoint=False)
    circle = np.column_stack([np.cos(angles), np.sin(angles)])
    circle *= 0.5 * float(library["scalefactors"]["spot_diameter_fullres"])
    with atomic_file(path) as temporary, open(temporary, "w", encoding="utf-8") as stream:
        stream.write('{"type": "FeatureCollection", "features": [')
        for row, values in _rows(prediction, genes):
            measurements = {name: _short(value) for name, value in confidence.iloc[row].items()}
            measurements |= {gene: _short(value) for gene, value in zip(genes, values, strict=True)}
            feature = _detection(str(prediction.spots.obs_names[row]), prediction.xy[row] + circle, measurements)
            stream.write((",\n" if row else "\n") + json.dumps(feature, ensure_ascii=False, allow_nan=False))
        stream.write("\n]}\n")


def _detection(name: str, outline: Any, measurements: dict[Any, float]) -> dict[str, Any]:
    ring = np.round(outline, 2).tolist()
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [[*ring, ring[0]]]},
        "properties": {"objectType": "detection", "name": name, "measurements": measurements},
    }


def _rows(prediction: Prediction, genes: Sequence[str]) -> Iterator[tuple[int, Float32]]:
    for start in range(0, len(prediction), SPOTS_A_PASS):
        block = prediction.expression(genes, slice(start, start + SPOTS_A_PASS))
        for i, values in enumerate(block):
            yield start + i, values


def _safe_text(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


def _short(value: Any) -> float:
    """Return a float32 as the shortest decimal that reads back as it."""
    return float(str(np.float32(value)))
