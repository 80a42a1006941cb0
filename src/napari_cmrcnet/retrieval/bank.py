"""Bank: the training spots that predictions are retrieved from."""

import os
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.hdf5 import read_h5ad, write_h5ad
from napari_cmrcnet.common.hdf5_checks import check_hdf5
from napari_cmrcnet.retrieval.averages import GENES_A_PASS, Columns, Neighbourhoods, columns_of, weighted_means
from napari_cmrcnet.retrieval.expected import with_expected
from napari_cmrcnet.retrieval.genes import GeneNames
from napari_cmrcnet.retrieval.known_genes import INTERVAL, SHARES, BankSummary, KnownGenes
from napari_cmrcnet.retrieval.stored_columns import StoredColumns, left_in_file
from napari_cmrcnet.sections.expression import rescaled
from napari_cmrcnet.sections.totals import TARGET_SUM

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int32 = npt.NDArray[np.int32]

OBS_COLUMNS = ("section", "patient", "array_row", "array_col", "x", "y")
EMBEDDING = "gene_embedding"  # its name in obsm
QUICKLY = {"compression": "lzf", "shuffle": True}
"""How a bank is packed: half the time of gzip's fastest level, for a twelfth more room; Python alone unpacks it."""
UNIT_TOLERANCE = 1e-4
COLUMN_BYTES = 64e6  # columns of expression, or of their means, held at a time


@dataclass(frozen=True, eq=False)
class Bank:
    """Training spots with their gene embeddings and expression.

    Parameters
    ----------
    embeddings : float32 array, (M, d)
        Gene embeddings of unit length (or all zero).
    expression : CSC float32 matrix or StoredColumns, (M, G)
        Log-normalised expression, of `TARGET_SUM`. By columns, because one gene of all spots is what is read. What is
        too large for memory stays in the bank's file.
    genes : tuple of str
        Gene symbols, unique.
    gene_ids : tuple of str
        Their Ensembl ids, ``""`` where not known.
    obs : DataFrame, M rows
        section, patient, array_row, array_col (-1 where not known), and the position x, y in full-resolution pixels.
    expected : float32 array, (G, 2), optional
        The PCC and partial PCC of each gene on training sections that were left out, NaN where it has no score; see
        `Card.expected_over`.
    interval : float32 array, (G,), optional
        Half the width of the 90 % interval of a value of each gene (log-normalised), from patients that were left out;
        NaN where it is not known.

    Raises
    ------
    UserError
        If the parts do not fit each other or hold what they must not.
    """

    embeddings: Float32
    expression: Any
    genes: tuple[str, ...]
    gene_ids: tuple[str, ...]
    obs: pd.DataFrame
    expected: Float32 | None = None
    interval: Float32 | None = None

    def __post_init__(self) -> None:
        problem = _shape_problem(self) or _value_problem(self)
        if problem is not None:
            raise UserError(f"The bank {problem}; build the checkpoint again.")

    def __len__(self) -> int:
        return len(self.embeddings)

    @cached_property
    def names(self) -> GeneNames:
        """The genes, found by symbol or Ensembl id."""
        return GeneNames(self.genes, self.gene_ids)

    @property
    def summary(self) -> BankSummary:
        """Its size and genes."""
        return BankSummary(
            spots=len(self), names=self.names, expected=self.expected, found=self.found, shares=self.shares
        )

    @cached_property
    def shares(self) -> Float32:
        """The share that each gene has of a spot's total, the mean over all spots, float32 (G,)."""
        own = self.expression
        linear = sparse.csc_matrix((np.expm1(own.data), own.indices, own.indptr), own.shape, copy=False)
        return weighted_means(linear, np.ones(len(self))) / np.float32(TARGET_SUM)

    @property
    def found(self) -> Float32:
        """The share of the spots at which each gene was found, float32 (G,)."""
        share: Float32 = np.diff(self.expression.indptr).astype(np.float32) / np.float32(len(self))
        return share

    def with_totals_over(self, columns: npt.NDArray[np.intp]) -> "Bank":
        """Return the bank with the totals of its spots taken over some of its genes, given by their places."""
        own, sums = self.expression, np.zeros(len(self))
        step = max(1, int(COLUMN_BYTES / 8 / len(self)))
        for start in range(0, len(columns), step):
            some = own[:, columns[start : start + step]]
            sums += np.bincount(some.indices, np.expm1(some.data.astype(np.float64)), minlength=len(self))
        factors = np.divide(TARGET_SUM, sums, out=np.ones_like(sums), where=sums > 0)
        if isinstance(own, StoredColumns):
            bank = copy(self)  # not checked again: all of the file would be read, for a quarter of a minute
            bank.__dict__["expression"] = own.rescaled(factors)
            bank.__dict__.pop("shares")
            return bank
        parts = rescaled(own.data, factors[own.indices]), own.indices, own.indptr
        return replace(self, expression=sparse.csc_matrix(parts, shape=own.shape, copy=False))

    def mean_expression(self, neighbours: Int32 | Neighbourhoods, genes: Sequence[str]) -> Float32:
        """Average the expression of each spot's neighbours.

        Parameters
        ----------
        neighbours : int32 array, (n, k), or Neighbourhoods
            Bank rows; as `Neighbourhoods` where they are weighted, or averaged again and again.
        genes : sequence of str
            Symbols or Ensembl ids.

        Returns
        -------
        float32 array, (n, len(genes))
            Means of the log-normalised values, weighted where the neighbours are, summed in float64.

        Raises
        ------
        UserError
            If a gene is not in the bank.
        """
        return self._averages(neighbours, genes, Neighbourhoods.mean)

    def expression_spread(self, neighbours: Int32 | Neighbourhoods, genes: Sequence[str]) -> Float32:
        """Return the standard deviation over each spot's neighbours, float32 (n, len(genes))."""
        return self._averages(neighbours, genes, Neighbourhoods.spread)

    def _averages(
        self,
        neighbours: Int32 | Neighbourhoods,
        genes: Sequence[str],
        average: Callable[[Neighbourhoods, Columns], npt.NDArray[np.floating[Any]]],
    ) -> Float32:
        """Average columns over neighbours, a few at a time."""
        chosen = self.names.columns(genes, "The checkpoint")
        if not isinstance(neighbours, Neighbourhoods):
            neighbours = Neighbourhoods.of(neighbours, len(self))
        result = np.empty((len(neighbours), len(chosen)), np.float32)
        step = max(1, int(COLUMN_BYTES / 8 / max(1, len(self), len(neighbours))))
        for start in range(0, len(chosen), step):
            columns = columns_of(self.expression, chosen[start : start + step])
            result[:, start : start + step] = average(neighbours, columns)
        return result

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the bank as h5ad (``X`` CSC, embeddings in ``obsm["gene_embedding"]``), whole or not at all."""
        from anndata import AnnData

        var = pd.DataFrame({"gene_ids": list(self.gene_ids), SHARES: self.shares}, index=list(self.genes))
        if self.interval is not None:
            var[INTERVAL] = self.interval
        table = AnnData(
            X=self.expression if sparse.issparse(self.expression) else self.expression[:, :],
            obs=self.obs.set_axis([str(row) for row in range(len(self))], axis=0),
            var=with_expected(var, self.expected),
            obsm={EMBEDDING: self.embeddings},
        )
        write_h5ad(path, table, QUICKLY)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Bank":
        """Read a bank; of a large one, the expression of a gene when it is asked for.

        Raises
        ------
        UserError
            If the file is not a bank, or is damaged.
        """
        check_hdf5(path)
        expression = left_in_file(Path(path))
        table = read_h5ad(path, without=() if expression is None else ("X",))
        expression = table.X if expression is None else expression
        lacking = [f"obs[{name!r}]" for name in OBS_COLUMNS if name not in table.obs]
        lacking += [f"obsm[{EMBEDDING!r}]"] if EMBEDDING not in table.obsm else []
        lacking += [f"var[{name!r}]" for name in ("gene_ids", SHARES) if name not in table.var]
        lacking += ["X in CSC"] if getattr(expression, "format", "") != "csc" else []
        if lacking:
            raise UserError(f"{path} is not a bank: it lacks {', '.join(lacking)}; get the checkpoint again.")
        known = KnownGenes.read(table.var, path, "build the checkpoint again")
        try:
            obs = table.obs.loc[:, list(OBS_COLUMNS)].astype({"section": object, "patient": object})
            obs = obs.astype({"section": str, "patient": str}).reset_index(drop=True)
        except (TypeError, ValueError) as error:  # kinds that pandas cannot hold
            damaged = f"{path} is not a bank: its spots are damaged ({error}); get the checkpoint again."
            raise UserError(damaged) from error
        try:
            bank = cls(
                np.asarray(table.obsm[EMBEDDING]),
                expression,
                known.names.symbols,
                known.names.ids,
                obs,
                known.expected,
                known.interval,
            )
            bank.__dict__["shares"] = known.shares  # computed, they take a second for 45,000 spots
            return bank
        except UserError as error:
            raise UserError(f"{Path(path)}: {error}") from error


def _shape_problem(bank: Bank) -> str | None:
    rows, columns = len(bank.embeddings), len(bank.genes)
    if bank.embeddings.ndim != 2 or rows == 0:
        return "holds no embeddings"
    if bank.expression.format != "csc" or bank.expression.shape != (rows, columns):
        return f"needs expression of {rows} spots and {columns} genes as CSC, not {bank.expression.shape}"
    if len(bank.obs) != rows or len(bank.gene_ids) != columns:
        return "lists other spots or genes than it has expression of"
    if len(set(bank.genes)) != columns:
        return "has a gene twice"
    return None


def _value_problem(bank: Bank) -> str | None:
    if bank.embeddings.dtype != np.float32 or bank.expression.dtype != np.float32:
        return "holds numbers that are not float32"
    try:
        if sparse.issparse(bank.expression):  # what stays in a file is checked there, and whenever it is read
            bank.expression.check_format()  # scipy's products trust the indices of a file
    except ValueError as error:
        return f"holds a damaged sparse matrix ({error})"
    blocks = (bank.expression[:, start : start + GENES_A_PASS] for start in range(0, len(bank.genes), GENES_A_PASS))
    if not np.isfinite(bank.embeddings).all() or not all(np.isfinite(block.data).all() for block in blocks):
        return "holds missing or infinite numbers"
    length = np.sqrt(np.einsum("ij,ij->i", bank.embeddings, bank.embeddings))
    if (np.abs(length - 1) > UNIT_TOLERANCE)[length > 0].any():
        return "has embeddings that are not of unit length"
    return None
