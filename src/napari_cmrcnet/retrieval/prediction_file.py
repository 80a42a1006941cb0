"""The file of a prediction: an .h5ad that scanpy reads as it is.

``layers["predicted"]`` and ``layers["measured"]`` hold the stored genes (panel, and the highest in mean and in
variance of all genes and of the training sections' variable ones), ``raw`` the measured counts of all genes (the
values of a file that has no counts), ``obsm`` the positions, neighbours and similarities, ``uns["cmrcnet"]`` the
provenance as JSON, with the names of these variable genes and what is remembered of how the prediction was looked at;
``var`` the share of training spots at which the stored genes were found, and their expected accuracy where the
checkpoint knows it. Other genes follow from the neighbours and the checkpoint's bank, which is found again by path
and hash.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.files import seen_from
from napari_cmrcnet.common.hdf5 import read_h5ad, write_h5ad
from napari_cmrcnet.common.hdf5_checks import check_hdf5
from napari_cmrcnet.common.json_entries import read_entries
from napari_cmrcnet.common.metrics import highest
from napari_cmrcnet.common.text import parse_json
from napari_cmrcnet.retrieval.averages import Float32, weighted_means
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.retrieval.expected import with_expected
from napari_cmrcnet.retrieval.known_genes import FOUND, INTERVAL, KnownGenes
from napari_cmrcnet.retrieval.prediction_checks import RETRIEVAL, check_parts, no_checkpoint
from napari_cmrcnet.retrieval.provenance import Provenance
from napari_cmrcnet.sections.panels import PANEL_MAY_LACK

if TYPE_CHECKING:
    from napari_cmrcnet.retrieval.case import Case
    from napari_cmrcnet.retrieval.prediction import Prediction

FORMAT_VERSION = 1
GENES_PER_SET = 50
BLOCK = 512  # genes made dense at a time


@dataclass(frozen=True, eq=False, kw_only=True)
class StoredGenes(KnownGenes):
    """The genes of which a file of a prediction holds the values: predicted, log-normalised, float32 (n, genes)."""

    values: Float32


@dataclass(frozen=True)
class _Record:
    """What ``uns["cmrcnet"]`` holds, as JSON, because h5ad has no empty lists and no null."""

    format_version: int
    provenance: Provenance
    checkpoint_relative: str  # its path as seen from the folder of the prediction
    spots: Mapping[str, Any]  # what they say of their origin
    variable_genes: tuple[str, ...]
    view: Any = None


def save(prediction: "Prediction", path: str | os.PathLike[str]) -> None:
    """Write a prediction.

    Raises
    ------
    UserError
        If the disk is full, or the stored genes need a checkpoint that is not where it was.
    """
    genes = genes_to_store(prediction)
    table = AnnData(
        obs=prediction.spots.obs.copy(),
        var=_var(prediction, genes),
        obsm={"spatial": prediction.xy, **_retrieval(prediction)},
        layers={"predicted": prediction.expression(genes)},
        uns={"spatial": prediction.spots.uns["spatial"], "cmrcnet": _record(prediction, Path(path))},
    )
    if prediction.spots.X is not None:
        table.layers["measured"] = _measured_where_known(prediction, genes)
        table.raw = AnnData(prediction.spots.X, obs=table.obs[[]], var=prediction.spots.var)
    write_h5ad(path, table)


def _retrieval(prediction: "Prediction") -> dict[str, Any]:
    """Return what was retrieved for each spot: nothing in what another tool predicted."""
    if prediction.provenance.external:
        return {}
    names = prediction.neighbours, prediction.similarity, prediction.confidence()
    return dict(zip(RETRIEVAL, names, strict=True))


def genes_to_store(case: "Case") -> list[str]:
    """Return the genes whose values a file holds.

    The panel, and the 50 of highest mean and the 50 of highest variance of those measured, of all and of the training
    sections' variable genes; without measurements the 50 of highest mean in the bank.
    """
    bank = None if case.prediction is None else case.prediction.bank
    if case.prediction is not None and bank is None:
        return list(case.genes)
    names = case.names
    chosen = names.known(case.panel.genes if case.panel is not None else ())
    genes = case.measured_genes
    if genes:
        of_measured = names.columns(genes, case.name)
        moments = []
        for start in range(0, len(genes), BLOCK):
            block = np.asarray(case.measured(genes[start : start + BLOCK]))
            moments.append((block.mean(axis=0), block.var(axis=0)))
        variable = [place for place, gene in enumerate(genes) if gene in case.variable_genes]
        for values in map(np.concatenate, zip(*moments, strict=True)):
            for among in (list(range(len(genes))), variable):
                chosen += [of_measured[place] for place in highest(values[among], among, GENES_PER_SET)]
    elif bank is not None:
        chosen += highest(weighted_means(bank.expression, np.ones(len(bank))), range(len(bank.genes)), GENES_PER_SET)
    return [names.symbols[column] for column in dict.fromkeys(chosen)]


def _var(prediction: "Prediction", genes: list[str]) -> pd.DataFrame:
    names = prediction.names
    columns = names.columns(genes, "The prediction")
    ids = [names.ids[column] for column in columns]
    panel = names.known(prediction.panel.genes if prediction.panel is not None else ())
    var = pd.DataFrame({"gene_ids": ids, "panel": np.isin(columns, panel)}, index=genes)
    if prediction.found is not None:
        var[FOUND] = prediction.found[columns]
    if prediction.interval is not None:
        var[INTERVAL] = prediction.interval[columns]
    return with_expected(var, None if prediction.expected is None else prediction.expected[columns])


def _measured_where_known(prediction: "Prediction", genes: list[str]) -> np.ndarray:
    measured = np.full((len(prediction), len(genes)), np.nan, np.float32)
    places = [place for place, gene in enumerate(genes) if gene in prediction.measured_set]
    measured[:, places] = prediction.measured([genes[place] for place in places])
    return measured


def _record(prediction: "Prediction", path: Path) -> str:
    about = prediction.provenance
    relative = seen_from(path.resolve().parent, about.checkpoint) if about.checkpoint else ""
    genes = tuple(sorted(prediction.variable_genes))
    record = _Record(FORMAT_VERSION, about, relative, prediction.spots.uns["cmrcnet"], genes, prediction.view)
    return json.dumps(asdict(record), ensure_ascii=False)


def load(
    kind: type["Prediction"],
    path: str | os.PathLike[str],
    checkpoint: "Checkpoint | str | os.PathLike[str] | None" = None,
) -> "Prediction":
    """Read a prediction; see `Prediction.load`, which gives its own class."""
    path = no_checkpoint(path)
    table = read_h5ad(path)
    record = _read_record(path, table.uns.get("cmrcnet"))
    provenance = record.provenance
    if provenance.external:  # another tool's values: nothing was retrieved
        nothing = np.empty((table.n_obs, 0), np.float32)
        parts = nothing.astype(np.int32), nothing, pd.DataFrame(index=table.obs_names)
        table.obsm.update(zip(RETRIEVAL, parts, strict=True))
    logs = bool(record.spots.get("normalised", False))
    check_parts(path, table, retrieved=not provenance.external, normalised=logs)
    opened = None if checkpoint is None else _given(path, checkpoint, provenance)
    values = np.asarray(table.layers["predicted"], np.float32)
    stored = StoredGenes.read(table.var, path, "predict again", values=values)
    prediction = kind(
        _spots(table, record.spots),
        np.asarray(table.obsm["neighbours"]),
        np.asarray(table.obsm["similarity"]),
        table.obsm["confidence"],
        provenance,
        bank=None if opened is None else opened.bank,
        places=_places(path, record),
        stored=stored,
        variable_genes=record.variable_genes,
        view=record.view if isinstance(record.view, dict) else {},  # else it was changed by hand
    )
    prediction.path = path
    if opened is not None:
        prediction.checkpoint = opened
    return prediction


def is_prediction(path: str | os.PathLike[str]) -> bool:
    """Say whether an h5ad file calls itself a prediction of this software.

    Raises
    ------
    UserError
        As `check_hdf5`.
    """
    import h5py

    check_hdf5(path)
    with h5py.File(path, "r") as file:
        entry = file.get("uns/cmrcnet")
        return isinstance(entry, h5py.Dataset) and entry.shape == ()


def read_provenance(path: str | os.PathLike[str]) -> Provenance:
    """Read only what a prediction was made from.

    Raises
    ------
    UserError
        If the file is not a prediction.
    """
    import h5py

    path, text = no_checkpoint(path), None
    if is_prediction(path):
        with h5py.File(path, "r") as file:
            text = file["uns/cmrcnet"].asstr()[()]
    return _read_record(path, text).provenance


def _read_record(path: Path, text: Any) -> _Record:
    try:
        parsed = parse_json(text) if isinstance(text, str) else None
    except ValueError:
        parsed = None
    values: dict[str, Any] = parsed if isinstance(parsed, dict) else {}
    if not {"format_version", "provenance"} <= set(values) or not isinstance(values.get("spots"), dict):
        raise UserError(
            f"{path} is not a prediction of napari-cmrcnet; predict the slide first, or choose another file."
        )
    if values["format_version"] != FORMAT_VERSION:
        raise UserError(
            f"{path} has format version {values['format_version']}, this software knows {FORMAT_VERSION}; "
            "update napari-cmrcnet."
        )
    try:
        return read_entries(_Record, values, may_lack=("view", *PANEL_MAY_LACK))
    except UserError as error:
        raise UserError(f"{path} {error}; predict again.") from error


def _spots(table: AnnData, about: Any) -> AnnData:
    uns = {"spatial": table.uns["spatial"], "cmrcnet": about}
    obsm = {"spatial": np.asarray(table.obsm["spatial"], np.float64)}
    if table.raw is None:
        return AnnData(obs=table.obs, obsm=obsm, uns=uns)
    return AnnData(table.raw.X, obs=table.obs, var=table.raw.var, obsm=obsm, uns=uns)


def _places(path: Path, record: _Record) -> list[Path]:
    """Return where the checkpoint may be: where it was, and in the same place as seen from the prediction."""
    places = [Path(record.provenance.checkpoint)] if record.provenance.checkpoint else []
    return places + ([path.resolve().parent / record.checkpoint_relative] if record.checkpoint_relative else [])


def _given(path: Path, checkpoint: "Checkpoint | str | os.PathLike[str]", provenance: Provenance) -> Checkpoint:
    """Open the checkpoint that is said to have made a prediction."""
    opened = checkpoint if isinstance(checkpoint, Checkpoint) else Checkpoint.open(checkpoint)
    if opened.digest != provenance.checkpoint_digest:
        raise UserError(
            f"{opened.path} is not the checkpoint that made {path}; give that one (it was at {provenance.checkpoint})."
        )
    return opened
