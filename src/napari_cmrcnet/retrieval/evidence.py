"""Evidence: the training spots behind the value of one spot, and how much of it comes from which section."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import Job, Progress
from napari_cmrcnet.slides.patches import read_patches

if TYPE_CHECKING:
    from napari_cmrcnet.retrieval.bank import Bank
    from napari_cmrcnet.retrieval.prediction import Prediction
    from napari_cmrcnet.retrieval.thumbnails import Pixels, Thumbnails
    from napari_cmrcnet.slides.slide import Slide


@dataclass(frozen=True, eq=False)
class Evidence:
    """What the predicted value of a spot was retrieved from.

    Parameters
    ----------
    spot : int
        Its row among the prediction's spots.
    genes : tuple of str
        The gene, by its symbol, or the genes whose mean is taken.
    table : DataFrame, k rows
        The neighbours, the most similar first: ``row`` (of the bank), ``section``, ``patient``, ``x``, ``y``
        (full-resolution pixels of their slide), ``similarity`` (cosine), ``weight`` (they add up to 1) and
        ``expression`` (log-normalised, float64). The index, ``rank``, counts from 1.
    by_section : DataFrame
        One row per section, the largest share first: ``patient``, ``spots`` and ``share`` of the value that is from its
        neighbours. NaN where the value is 0.
    value : float
        The predicted value: the mean of ``expression`` by ``weight``.
    spread : float
        Its standard deviation over the neighbours, by ``weight``.
    interval : (float, float) or None
        Ends of the 90 % interval of the value of one gene; None where it is not known, see `Prediction.interval`.
    """

    spot: int
    genes: tuple[str, ...]
    table: pd.DataFrame
    by_section: pd.DataFrame
    value: float
    spread: float
    interval: tuple[float, float] | None


def evidence(prediction: "Prediction", spot: int, genes: str | Sequence[str]) -> Evidence:
    """Return what the predicted value of a spot was retrieved from.

    Parameters
    ----------
    prediction : Prediction
        With its checkpoint where it was.
    spot : int
        Row of the spot.
    genes : str or sequence of str
        A gene, by symbol or Ensembl id; or several, such as those of a panel, whose mean is taken.

    Raises
    ------
    UserError
        If there is no such spot or gene, or the checkpoint has moved.
    """
    asked = (genes,) if isinstance(genes, str) else tuple(genes)
    if not asked:
        raise UserError("No gene was given to show the evidence of; give at least one.")
    if not 0 <= spot < len(prediction):
        raise UserError(
            f"The prediction of {prediction.name} has no spot {spot}; its {len(prediction):,} spots count from 0."
        )
    bank = prediction.bank_for("the training spots behind a value")
    columns = bank.names.columns(asked, "The checkpoint")
    rows = prediction.neighbours[spot]
    values = _mean_of_genes(bank, rows, columns)
    table = bank.obs.iloc[rows][["section", "patient", "x", "y"]]
    weights = _weights(prediction, spot)
    table = table.assign(similarity=prediction.similarity[spot], weight=weights, expression=values)
    table.insert(0, "row", rows)
    table.index = pd.RangeIndex(1, len(rows) + 1, name="rank")
    value = float(weights @ values)
    return Evidence(
        spot,
        tuple(bank.names.symbols[column] for column in columns),
        table,
        _by_section(table),
        value,
        float(np.sqrt(weights @ np.square(values - value))),
        None if prediction.interval is None or len(columns) > 1 else _around(value, prediction.interval[columns[0]]),
    )


def _around(value: float, half: float) -> tuple[float, float] | None:
    """Return the ends of an interval, of which none is below 0; None where its width is not known."""
    return None if np.isnan(half) else (max(value - float(half), 0.0), value + float(half))


def _weights(prediction: "Prediction", spot: int) -> npt.NDArray[np.float64]:
    """Return how much each neighbour of a spot counts, float64 (k,), adding up to 1."""
    if prediction.weights is None:
        k = prediction.neighbours.shape[1]
        return np.full(k, 1 / k)
    own: npt.NDArray[np.float64] = prediction.weights[spot].astype(np.float64)
    own /= own.sum()
    return own


def _mean_of_genes(bank: "Bank", rows: npt.NDArray[np.int32], columns: Sequence[int]) -> npt.NDArray[np.float64]:
    """Return the mean over genes of bank rows, float64 (k,)."""
    values: npt.NDArray[np.float64] = np.zeros(len(rows))
    for column in columns:  # not at once: 200 genes of a million spots may be a gigabyte
        values += bank.expression[:, column : column + 1].toarray()[rows, 0]
    return values / len(columns)


def _by_section(table: pd.DataFrame) -> pd.DataFrame:
    grouped = table.assign(part=table["weight"] * table["expression"]).groupby("section", sort=False)
    parts = grouped["part"].sum()
    total = parts.sum()
    sections = pd.DataFrame(
        {
            "patient": grouped["patient"].first(),
            "spots": grouped.size(),
            "share": parts / total if total > 0 else np.nan,
        }
    )
    return sections.sort_values(["share", "spots"], ascending=False, kind="stable")


def patch_of(prediction: "Prediction", slide: "Slide", spot: int) -> "Pixels | None":
    """Return what the encoder saw at a spot, to compare with its neighbours; None where that is not known.

    Parameters
    ----------
    prediction : Prediction
        With its checkpoint where it was.
    slide : Slide
        Of its section.
    spot : int
        Row of the spot.

    Returns
    -------
    uint8 array, (side, side, 3), or None
        RGB. None too where the slide is damaged there.
    """
    if prediction.checkpoint is None:
        return None
    place, patch = prediction.xy[spot : spot + 1], prediction.checkpoint.card.preprocessing.patch
    (batch,) = read_patches(slide, place, patch, prediction.provenance.mpp, threads=1)
    return None if len(batch.unreadable) else batch.pixels[0]


def open_thumbnails(prediction: "Prediction") -> "Job[Thumbnails | None]":
    """Return `Checkpoint.thumbnails`, which take a second to be verified where they are many; None without it."""
    yield Progress("Checking the pictures of the training spots", 0, 0)
    return None if prediction.checkpoint is None else prediction.checkpoint.thumbnails
