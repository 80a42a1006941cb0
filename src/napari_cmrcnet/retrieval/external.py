"""Predictions of other tools: a table of values beside measured spots, without a bank."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.text import count_text
from napari_cmrcnet.retrieval.case import Case
from napari_cmrcnet.retrieval.external_files import ExternalTable, read_table
from napari_cmrcnet.retrieval.genes import GeneNames
from napari_cmrcnet.retrieval.prediction import Prediction
from napari_cmrcnet.retrieval.prediction_file import StoredGenes
from napari_cmrcnet.sections.counts import LARGEST_LOG
from napari_cmrcnet.sections.gene_table import named_genes
from napari_cmrcnet.sections.panels import Panel
from napari_cmrcnet.sections.pixel_size import spots_lattice
from napari_cmrcnet.sections.totals import TARGET_SUM

if TYPE_CHECKING:
    from napari_cmrcnet.slides.slide import Slide

Float32 = NDArray[np.float32]
Scale = Literal["log", "normalised", "counts"]
SCALES: tuple[Scale, ...] = get_args(Scale)


def open_external(
    path: Path,
    spots: AnnData,
    *,
    layer: str = "",
    scale: Scale | None = None,
    panel: Panel | None = None,
    slide: "Slide | None" = None,
) -> Prediction:
    """Open what another tool predicted at measured spots.

    Spots are matched by name; where no name is in common and the table has positions, each spot takes the nearest row
    no farther than half the distance between spots. Spots without a value are left out. Genes are matched with the
    measured ones by Ensembl id or symbol, as those of a bank.

    Parameters
    ----------
    path : Path
        As `read_table` takes it; spots and genes may be transposed.
    spots : AnnData
        As `open_spots` gives them.
    layer : str
        Which matrix, of several.
    scale : {"log", "normalised", "counts"}, optional
        What the values are: log-normalised, and taken as they are; normalised, of which log(1 + x) is taken; or counts,
        which are first scaled to a total of `TARGET_SUM` over the genes of the table. Without it they are taken as
        log-normalised if they can be that.
    panel : Panel, optional
        Marker genes that are shown first.
    slide : Slide, optional
        What the spots lie on.

    Returns
    -------
    Prediction
        Its ``provenance.external`` names the file; it has no neighbours.

    Raises
    ------
    UserError
        If the table cannot be read, has missing or infinite values, does not fit the spots, or does not say enough.
    """
    return of_table(read_table(path, layer), path, spots, scale=scale, panel=panel, slide=slide)


def of_table(
    table: ExternalTable,
    path: Path,
    spots: AnnData,
    *,
    scale: Scale | None = None,
    panel: Panel | None = None,
    slide: "Slide | None" = None,
) -> Prediction:
    """Return what `open_external` does, of a table that was read or made from ``path``."""
    table = _upright(table, spots)
    rows, here, how = _matched(path, table, spots)
    var, columns = named_genes(table.genes)
    if not len(var):
        raise UserError(f"{path} has no column that is named after a gene.")
    values = table.values[np.ix_(rows, columns)]
    scale, said = _scale(path, table.values, values, var.index, scale)
    notes = [how, said] if how else [said]
    if len(here) < spots.n_obs:
        few = count_text(spots.n_obs - len(here), "measured spot", spots.n_obs)
        notes.append(f"Left out {few}: no value.")
        spots = spots[here].copy()
    stored = StoredGenes(values=_logarithms(values, scale), names=GeneNames.of(var))
    about = Case.of(spots, path.stem, slide).provenance
    about = replace(about, external=str(path.resolve()), panel=panel, notes=(*about.notes, *notes))
    nothing = np.empty((len(here), 0), np.float32)
    trust = pd.DataFrame(index=spots.obs_names)
    return Prediction(spots, nothing.astype(np.int32), nothing, trust, about, stored=stored)


def _upright(table: ExternalTable, spots: AnnData) -> ExternalTable:
    """Turn a table whose columns, not its rows, are the spots."""
    if table.spots.isin(spots.obs_names).any() or not table.genes.index.isin(spots.obs_names).any():
        return table
    return ExternalTable(np.ascontiguousarray(table.values.T), table.genes.index, pd.DataFrame(index=table.spots))


def _matched(path: Path, table: ExternalTable, spots: AnnData) -> tuple[NDArray[np.int64], NDArray[np.int64], str]:
    """Return rows of the table, the spots that they are of, and what must be said of it."""
    if table.spots.has_duplicates:
        repeated = table.spots[table.spots.duplicated()][0]
        raise UserError(f"{path} has the spot {repeated} twice; write each spot once.")
    places = table.spots.get_indexer(spots.obs_names)
    if (places >= 0).any():
        here = np.flatnonzero(places >= 0)
        return places[here].astype(np.int64), here, ""
    if table.xy is None:
        raise UserError(
            f"{path} has none of the {count_text(spots.n_obs, 'measured spot')} by name: its spots are called "
            f"{', '.join(table.spots[:2])}, the measured ones {', '.join(map(str, spots.obs_names[:2]))}."
        )
    reach = spots_lattice(spots).pitch / 2
    distance, places = cKDTree(table.xy).query(np.asarray(spots.obsm["spatial"], np.float64))
    here = np.flatnonzero(distance <= reach)
    if not len(here):
        raise UserError(
            f"{path} has none of the measured spots by name, and no position within {reach:.0f} pixels of one; give "
            "positions in full-resolution pixels of the same slide."
        )
    said = f"No spot names match: each spot takes the nearest of the table's {len(table.spots):,} positions."
    return places[here].astype(np.int64), here, said


def _scale(path: Path, every: Float32, values: Float32, genes: pd.Index, asked: Scale | None) -> tuple[Scale, str]:
    """Return what the values are, and how to say it."""
    bad = ~np.isfinite(values)
    if bad.any():
        first = genes[int(bad.any(axis=0).argmax())]
        raise UserError(
            f"{path} has {int(bad.sum()):,} missing or infinite values, such as of {first}; leave out the spots or "
            "genes that have no value."
        )
    least, most = float(values.min()), float(values.max())
    if asked is None:
        whole = bool((every == np.rint(every)).all())
        if most > LARGEST_LOG or (whole and most > 0):
            kind = "whole numbers, as counts are" if whole else "too large for logarithms"
            raise UserError(
                f"{path} holds values from {least:.3g} to {most:.3g}, {kind}; say what they are: {', '.join(SCALES)}.",
                "scale",
                SCALES,
            )
    elif asked != "log" and least < 0:
        raise UserError(f"{path} holds values down to {least:.3g}: {asked} values are not below 0.", "scale")
    said = {
        "log": "Its values are taken as log-normalised, as they are",
        "normalised": "Its values are normalised: log(1 + x) of them is shown",
        "counts": f"Its counts are scaled to {TARGET_SUM:,.0f} over {count_text(len(genes), 'gene')}: log(1 + x) of "
        "that is shown",
    }
    chosen: Scale = asked or "log"
    return chosen, f"{said[chosen]} ({least:.3g} to {most:.3g})."


def _logarithms(values: Float32, scale: Scale) -> Float32:
    if scale == "log":
        return values
    if scale == "counts":
        totals = values.sum(axis=1, keepdims=True, dtype=np.float64)
        values = (values * np.divide(TARGET_SUM, totals, out=np.zeros_like(totals), where=totals > 0)).astype(
            np.float32
        )
    found: Any = np.log1p(values)
    return np.asarray(found, np.float32)
