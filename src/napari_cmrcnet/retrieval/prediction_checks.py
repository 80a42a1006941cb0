"""What must be in the file of a prediction, before anything in it is used."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.files import check_name
from napari_cmrcnet.retrieval.card import CARD
from napari_cmrcnet.sections.counts import counts_problem, log_values
from napari_cmrcnet.sections.formats.origin import mapping, size_in
from napari_cmrcnet.sections.totals import IN_TOTAL

RETRIEVAL = ("neighbours", "similarity", "confidence")  # in obsm
CONFIDENCE = ("mean_similarity", "best_similarity", "sections")  # columns that `confidence_table` gives


def no_checkpoint(path: str | os.PathLike[str]) -> Path:
    """Return the path of a prediction, unless it is a checkpoint: the two are easily taken for each other.

    Raises
    ------
    UserError
        If it is the folder of a checkpoint, or its name is not UTF-8.
    """
    path = Path(path)
    check_name(path)
    if (path / CARD).is_file():
        raise UserError(f"{path} is a checkpoint (a model), not a prediction; give the .h5ad file that predict wrote.")
    return path


def check_parts(path: Path, table: AnnData, *, retrieved: bool, normalised: bool) -> None:
    """Check that the table of a prediction's file holds what it should.

    Parameters
    ----------
    path : Path
        The file, for the messages.
    table : AnnData
        As it was read.
    retrieved : bool
        Whether it came from a bank, and so says how far each spot can be trusted.
    normalised : bool
        Whether the measured values are log-normalised in place of counts.

    Raises
    ------
    UserError
        If a part is missing, or is not of its kind.
    """
    lacking = [f"obsm[{name!r}]" for name in ("spatial", *RETRIEVAL) if name not in table.obsm]
    lacking += ["layers['predicted']"] if "predicted" not in table.layers else []
    lacking += ["uns['spatial']"] if "spatial" not in table.uns else []
    lacking += ["var['gene_ids']"] if "gene_ids" not in table.var else []
    if lacking:
        raise UserError(f"{path} is not a complete prediction: it lacks {', '.join(lacking)}; predict again.")
    _check_values(path, table, CONFIDENCE if retrieved else (), normalised)


def _check_values(path: Path, table: AnnData, columns: tuple[str, ...], normalised: bool) -> None:
    xy = table.obsm["spatial"]
    numbers = isinstance(xy, np.ndarray) and xy.dtype.kind in "iuf" and xy.shape == (table.n_obs, 2)
    if not numbers or not np.isfinite(xy).all():
        raise UserError(f"{path} has positions that are not two finite numbers per spot; predict again.")
    raw = None if table.raw is None or (normalised and log_values(table.raw.X) is not None) else table.raw.X
    if raw is not None and (problem := counts_problem(raw)):
        raise UserError(f"{path}: its raw {problem}; predict again.")
    neighbours, similarity = table.obsm["neighbours"], table.obsm["similarity"]
    arrays = all(isinstance(each, np.ndarray) for each in (neighbours, similarity))
    if not arrays or neighbours.dtype != np.int32 or neighbours.ndim != 2 or similarity.shape != neighbours.shape:
        raise UserError(f"{path} has neighbours and similarities that do not fit each other; predict again.")
    if similarity.dtype != np.float32 or not np.isfinite(similarity).all():
        raise UserError(f"{path} has similarities that are not finite numbers; predict again.")
    confidence = table.obsm["confidence"]
    kinds = confidence.dtypes.to_dict() if isinstance(confidence, pd.DataFrame) else {}
    if not all(name in kinds and pd.api.types.is_numeric_dtype(kinds[name]) for name in columns):
        raise UserError(f"{path} lacks numbers of its confidence ({', '.join(CONFIDENCE)}); predict again.")
    predicted = table.layers["predicted"]
    if not isinstance(predicted, np.ndarray) or predicted.dtype.kind != "f":
        raise UserError(f"{path} has predicted values that are not numbers; predict again.")
    if table.raw is not None and not _known_totals(table.raw.var):
        raise UserError(f"{path} does not say which genes its totals are over; predict again.")
    if not isinstance(table.uns["spatial"], dict) or len(table.uns["spatial"]) != 1:
        raise UserError(f"{path} does not have one library in uns['spatial']; predict again.")
    (library,) = table.uns["spatial"].values()
    if not size_in(mapping(mapping(library).get("scalefactors")).get("spot_diameter_fullres")):
        raise UserError(f"{path} does not say how large its spots are; predict again.")


def _known_totals(var: pd.DataFrame) -> bool:
    """Say whether the genes of the totals, where the file names them, are named by True and False."""
    return IN_TOTAL not in var or (var[IN_TOTAL].dtype == bool and bool(var[IN_TOTAL].any()))
