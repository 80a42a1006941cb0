"""The result of one fold, method and seed: one file, written whole when it is done."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_cmrcnet.common.errors import UserError, readable
from napari_cmrcnet.common.hdf5 import hdf5_file
from napari_cmrcnet.common.hdf5_checks import check_hdf5
from napari_cmrcnet.common.metrics import TOP, dense, highest, pcc, rmse, spearman
from napari_cmrcnet.evaluation.set_scores import Definition
from napari_cmrcnet.sections.depth import partial_pcc
from napari_cmrcnet.sections.expression import expression_of
from napari_cmrcnet.sections.score_filter import MIN_SPOTS, detected_spots, scored_spots, unscored
from napari_cmrcnet.sections.section import Section
from napari_cmrcnet.sections.totals import total_genes, totals_of

Array = NDArray[np.float64]
FORMAT = 2
_OF_A_GENE = ["pcc", "partial_pcc", "spearman", "rmse", "predicted_mean", "predicted_variance"]
_MEASURED = ("mean", "variance", "found", "variable")
_DEFINITIONS: tuple[Definition, ...] = ("paper", "all")
By = Literal["mean", "variance"]
RANKED_BY: Mapping[str, By] = {"HEG": "mean", "HVG": "variance"}
_BLOCK = 256  # genes scored at a time: memory does not grow with their number


@dataclass(frozen=True, eq=False)
class Output:
    """One prediction of a test section: several of CMRCNet, one a k; one of the other methods.

    Parameters
    ----------
    table : DataFrame
        One row per gene that is predicted and measured, over the spots that count. Of the measured expression ``mean``,
        ``variance`` and ``found``, at how many of these spots: at fewer than `MIN_SPOTS` a gene has no score. Whether
        it is one of the training sections' highly ``variable`` genes, among which the paper ranks. Of the prediction
        ``pcc``, ``partial_pcc`` (given the log total and its square), ``spearman``, ``rmse``, ``predicted_mean`` and
        ``predicted_variance``; the correlations are NaN where a gene has no score.
    counted : bool (n,)
        Spots that count: those with enough transcripts.
    drawn : DataFrame, float32
        One row per spot, all of them: predicted expression of the genes that figures show.
    """

    table: pd.DataFrame
    counted: NDArray[np.bool_]
    drawn: pd.DataFrame


def top_genes(table: pd.DataFrame, by: By, n: int, sets: Definition) -> tuple[str, ...]:
    """Return the n genes of the highest mean (HEG) or variance (HVG) of an output, with those that have no score."""
    among = table[table["variable"]] if sets == "paper" else table
    return highest(among[by], list(among.index), n)


def found_enough(table: pd.DataFrame, genes: Sequence[str]) -> list[str]:
    """Return those of some genes of an output that were found at enough spots to have a score."""
    enough = set(table.index[table["found"] >= MIN_SPOTS])
    return [gene for gene in genes if gene in enough]


@dataclass(frozen=True, eq=False)
class UnitResult:
    """What one fold, method and seed gave.

    Parameters
    ----------
    fold, method, title : str
        Which.
    seed : int
        Of all that is random.
    sections : mapping of str to mapping of str to Output
        By test section, and by k or ``""``.
    about : mapping
        ``settings``, ``wall_s``, ``cpu_s``, ``resumed``, ``machine``, ``packages``, ``notes``.
    """

    fold: str
    method: str
    title: str
    seed: int
    sections: Mapping[str, Mapping[str, Output]]
    about: Mapping[str, Any]


def spots_that_count(section: Section, min_umi: int | None = None) -> tuple[NDArray[np.bool_], Array]:
    """Return which spots of a measured section count in scores, bool (n,), and the total count of each, float64 (n,).

    Parameters
    ----------
    section : Section
        With counts.
    min_umi : int, optional
        Spots with fewer counts do not; see `scored_spots`.

    Raises
    ------
    UserError
        If fewer than three do.
    """
    assert section.spots.X is not None
    totals = totals_of(section.spots)
    counted = scored_spots(totals, total_genes(section.spots), min_umi)
    if counted.sum() < 3:
        raise UserError(
            f"Section {section.name} has {int(counted.sum())} of {len(counted)} spots with enough counts to be scored "
            f"(most: {totals.max(initial=0):g}), too few; lower --score-min-umi or leave the section out."
        )
    return counted, totals


def score_section(
    section: Section,
    genes: Sequence[str],
    predicted: Mapping[str, NDArray[np.float32]],
    *,
    variable: Collection[str],
    shown: Sequence[str],
    min_umi: int | None = None,
) -> dict[str, Output]:
    """Score the predictions of a section, each with its name.

    Parameters
    ----------
    section : Section
        Measured.
    genes : sequence of str
        The columns of the predictions, all measured.
    predicted : mapping of str to (n, g)
        Predictions.
    variable : collection of str
        The training sections' highly variable genes.
    shown : sequence of str
        Genes to keep the predicted expression of, besides the top 50.
    min_umi : int, optional
        Spots with fewer counts do not count; see `scored_spots`.
    """
    counted, totals = spots_that_count(section, min_umi)
    measured = dense(expression_of(section.spots, genes))[counted]
    about = {
        "mean": measured.mean(axis=0),
        "variance": measured.var(axis=0),
        "found": detected_spots(measured),
        "variable": pd.Index(genes).isin(list(variable)),
    }
    table = pd.DataFrame(about, index=list(genes))
    tops = [gene for sets in _DEFINITIONS for by in RANKED_BY.values() for gene in top_genes(table, by, TOP, sets)]
    kept = list(dict.fromkeys([*tops, *(gene for gene in shown if gene in table.index)]))
    outputs = {}
    for name, values in predicted.items():
        scores = _scored(measured, values[counted], totals[counted]).set_index(table.index)
        drawn = pd.DataFrame(values, columns=list(genes))[kept].astype(np.float32)
        outputs[name] = Output(table.join(scores), counted, drawn)
    return outputs


def _scored(measured: Array, predicted: NDArray[np.float32], totals: Array) -> pd.DataFrame:
    """Return the scores of each gene over the spots that count."""
    parts = []
    for start in range(0, measured.shape[1], _BLOCK):
        block = slice(start, start + _BLOCK)
        truth, guess = measured[:, block], np.asarray(predicted[:, block], np.float64)
        correlations = np.array([pcc(truth, guess), partial_pcc(truth, guess, totals), spearman(truth, guess)])
        correlations[:, np.array(unscored(truth, guess)) != ""] = np.nan
        parts.append([*correlations, rmse(truth, guess), guess.mean(axis=0), guess.var(axis=0)])
    return pd.DataFrame(np.hstack(parts).T, columns=_OF_A_GENE)


def save_result(path: Path, result: UnitResult) -> None:
    """Write a result, whole or not at all."""
    about = {"format": FORMAT, "fold": result.fold, "method": result.method, "title": result.title,
             "seed": result.seed, **result.about}  # fmt: skip
    text = h5py.string_dtype()
    with hdf5_file(path) as (file, check):
        file.attrs["about"] = json.dumps(about)
        for section, outputs in result.sections.items():
            one = next(iter(outputs.values()))  # what was measured, where, and what is drawn are the same of all
            group = file.create_group(section)
            group.create_dataset("genes", data=list(one.table.index), dtype=text)
            group["counted"] = one.counted
            for column in _MEASURED:
                group[column] = one.table[column]
            for name, output in outputs.items():
                part = group.create_group(f"outputs/k{name}")
                for column in _OF_A_GENE:
                    part[column] = output.table[column]
                part.create_dataset("drawn", data=output.drawn, compression="gzip")
            group.create_dataset("drawn", data=list(one.drawn), dtype=text)
        check()


def load_result(path: Path, *, with_drawn: bool = True) -> UnitResult:
    """Read a result.

    Parameters
    ----------
    path : Path
        The file.
    with_drawn : bool
        Read the predicted expression that figures show; tables do without.

    Raises
    ------
    UserError
        If the file is not one, or of a newer version.
    """
    check_hdf5(path)
    again = "remove it to have it made again"
    with readable(path, "is not a result of a benchmark", again), h5py.File(path, "r") as file:
        about = json.loads(file.attrs["about"])
        if about.pop("format") != FORMAT:
            raise UserError(f"{path} was written by another version; {again}.")
        sections = {name: _outputs(group, with_drawn) for name, group in file.items()}
        fold, method, title = (str(about.pop(name)) for name in ("fold", "method", "title"))
        return UnitResult(fold, method, title, int(about.pop("seed")), sections, about)


def _outputs(group: Any, with_drawn: bool) -> dict[str, Output]:
    """Read the outputs of a section."""
    genes, shown = (group[of].asstr()[:].tolist() for of in ("genes", "drawn"))
    measured = {column: group[column][:] for column in _MEASURED}
    outputs = {}
    for key, part in group["outputs"].items():
        table = pd.DataFrame(measured | {column: part[column][:] for column in _OF_A_GENE}, index=genes)
        drawn = pd.DataFrame(part["drawn"][:] if with_drawn else None, columns=shown)
        outputs[key[1:]] = Output(table, group["counted"][:], drawn)
    return outputs
