"""The result of one fold, method and seed: one file, written whole when it is done."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.hdf5 import check_hdf5, hdf5_file
from napari_cmrcnet.evaluation.metrics import heg, hvg, pcc, rmse

Array = NDArray[np.float64]
FORMAT = 1
_OF_A_GENE = ("pcc", "rmse", "predicted_mean", "predicted_variance")


@dataclass(frozen=True, eq=False)
class Output:
    """One prediction of a section: several of CMRCNet, one a k; one of the other methods.

    Parameters
    ----------
    table : mapping of str to float64 (g,)
        ``pcc``, ``rmse``, ``predicted_mean`` and ``predicted_variance`` of each scored gene.
    drawn : float32 (n, d)
        Predicted expression of the genes that figures show.
    """

    table: Mapping[str, Array]
    drawn: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class SectionResult:
    """A test section.

    Parameters
    ----------
    section : str
        Its name.
    genes : tuple of str
        Those scored: of the fold's genes, the ones that the section has.
    mean, variance : float64 (g,)
        Of the measured expression.
    drawn : tuple of str
        Genes whose predicted expression is kept.
    outputs : mapping of str to Output
        By k, or ``""``.
    """

    section: str
    genes: tuple[str, ...]
    mean: Array
    variance: Array
    drawn: tuple[str, ...]
    outputs: Mapping[str, Output]


@dataclass(frozen=True, eq=False)
class UnitResult:
    """What one fold, method and seed gave.

    Parameters
    ----------
    fold, method, title : str
        Which.
    seed : int
        Of all that is random.
    sections : tuple of SectionResult
        The fold's test sections.
    about : mapping
        ``settings``, ``wall_s``, ``cpu_s``, ``resumed``, ``machine``, ``packages``, ``notes``.
    """

    fold: str
    method: str
    title: str
    seed: int
    sections: tuple[SectionResult, ...]
    about: Mapping[str, Any]

    def label(self, output: str) -> str:
        """Return what tables call an output: ``CMRCNet-50``, ``ST-Net``."""
        return f"{self.title}-{output}" if output else self.title


def score_section(
    section: str, genes: Sequence[str], measured: Array, predicted: Mapping[str, Array], shown: Sequence[str]
) -> SectionResult:
    """Score the predictions of a section.

    Parameters
    ----------
    section : str
        Its name.
    genes : sequence of str
        The columns of the matrices.
    measured : (n, g)
        Measured expression.
    predicted : mapping of str to (n, g)
        Predictions.
    shown : sequence of str
        Genes to keep the predicted expression of, besides the top 50.
    """
    mean, variance = measured.mean(axis=0), measured.var(axis=0)
    known = {gene: column for column, gene in enumerate(genes)}
    kept = dict.fromkeys([*heg(mean, genes), *hvg(variance, genes), *(gene for gene in shown if gene in known)])
    columns = [known[gene] for gene in kept]
    outputs = {}
    for name, values in predicted.items():
        values = np.asarray(values, np.float64)
        table = {
            "pcc": pcc(measured, values),
            "rmse": rmse(measured, values),
            "predicted_mean": values.mean(axis=0),
            "predicted_variance": values.var(axis=0),
        }
        outputs[name] = Output(table, values[:, columns].astype(np.float32))
    return SectionResult(section, tuple(genes), mean, variance, tuple(kept), outputs)


def save_result(path: Path, result: UnitResult) -> None:
    """Write a result, whole or not at all."""
    about = {"format": FORMAT, "fold": result.fold, "method": result.method, "title": result.title,
             "seed": result.seed, **result.about}  # fmt: skip
    text = h5py.string_dtype()
    with hdf5_file(path) as (file, check):
        file.attrs["about"] = json.dumps(about)
        for one in result.sections:
            group = file.create_group(one.section)
            group.create_dataset("genes", data=list(one.genes), dtype=text)
            group.create_dataset("drawn", data=list(one.drawn), dtype=text)
            group["mean"], group["variance"] = one.mean, one.variance
            for name, output in one.outputs.items():
                part = group.create_group(f"outputs/k{name}")
                for column in _OF_A_GENE:
                    part[column] = output.table[column]
                part.create_dataset("drawn", data=output.drawn, compression="gzip")
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
    try:
        with h5py.File(path, "r") as file:
            about = json.loads(file.attrs["about"])
            if about.pop("format") != FORMAT:
                raise UserError(f"{path} was written by another version; remove it to have it made again.")
            sections = tuple(_section(name, group, with_drawn) for name, group in file.items())
            fold, method, title = (str(about.pop(name)) for name in ("fold", "method", "title"))
            return UnitResult(fold, method, title, int(about.pop("seed")), sections, about)
    except (KeyError, ValueError, TypeError, OSError) as error:
        raise UserError(f"{path} is not a result of a benchmark ({error}); remove it to have it made again.") from error


def _section(name: str, group: Any, with_drawn: bool) -> SectionResult:
    outputs = {}
    for key, part in group["outputs"].items():
        table = {column: np.asarray(part[column], np.float64) for column in _OF_A_GENE}
        drawn = part["drawn"][:] if with_drawn else np.empty((0, part["drawn"].shape[1]), np.float32)
        outputs[key[1:]] = Output(table, drawn)
    genes, shown = (tuple(group[of].asstr()[:].tolist()) for of in ("genes", "drawn"))
    return SectionResult(name, genes, np.asarray(group["mean"]), np.asarray(group["variance"]), shown, outputs)
