"""Genes with what is known of each from training, as ``var`` in the files of banks and predictions holds it."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from napari_cmrcnet.common.errors import UserError, readable
from napari_cmrcnet.common.hdf5_checks import check_hdf5
from napari_cmrcnet.retrieval.expected import COLUMNS
from napari_cmrcnet.retrieval.genes import GeneNames

if TYPE_CHECKING:
    import pandas as pd

Float32 = NDArray[np.float32]

FOUND, INTERVAL, SHARES = "found_in_training", "interval_90", "share_of_total"
_NUMBERS = {
    **dict.fromkeys(COLUMNS, (-1, 1, True)),
    FOUND: (0, 1, False),
    INTERVAL: (0, np.inf, True),
    SHARES: (0, np.inf, False),
}
"""By column the least and the most that its numbers may be, and whether NaN may stand for a gene without one."""


@dataclass(frozen=True, eq=False, kw_only=True)
class KnownGenes:
    """Genes with what is known of each from training; None where that is not known.

    Parameters
    ----------
    names : GeneNames
        The genes.
    expected : float32 (genes, 2), optional
        The expected PCC of each gene, and what is left of it given depth; NaN where it has none.
    found : float32 (genes,), optional
        The share of the training spots at which each gene was found.
    interval : float32 (genes,), optional
        Half the width of the 90 % interval of a value of each gene, log-normalised; NaN where it is not known.
    shares : float32 (genes,), optional
        The share that each gene has of a spot's total, the mean over the training spots; all together less than 1 where
        totals were taken over more genes than these.
    """

    names: GeneNames
    expected: Float32 | None = None
    found: Float32 | None = None
    interval: Float32 | None = None
    shares: Float32 | None = None

    @classmethod
    def read(cls, var: "pd.DataFrame", where: object, remedy: str, **more: Any) -> Self:
        """Read a table of genes, a row each.

        Parameters
        ----------
        var : DataFrame
            The table; a column that it lacks is not known.
        where, remedy : object, str
            For errors: whose table it is, and what to do.
        **more
            What else the class has.

        Raises
        ------
        UserError
            If numbers are not what their column is to hold.
        """
        known: dict[str, Float32] = {}
        for column in filter(var.__contains__, _NUMBERS):
            numbers = known[column] = var[column].to_numpy()
            least, most, gaps = _NUMBERS[column]
            given = numbers[~np.isnan(numbers)] if gaps and numbers.dtype == np.float32 else numbers
            if given.dtype != np.float32 or not (np.isfinite(given) & (given >= least) & (given <= most)).all():
                raise UserError(f"{where} needs {column} as finite float32 from {least} to {most}; {remedy}.")
        expected = [known[column] for column in COLUMNS if column in known]
        if len(expected) == 1:
            raise UserError(f"{where} needs {' and '.join(COLUMNS)}, or neither; {remedy}.")
        return cls(
            names=GeneNames.of(var),
            expected=np.column_stack(expected) if expected else None,
            found=known.get(FOUND),
            interval=known.get(INTERVAL),
            shares=known.get(SHARES),
            **more,
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class BankSummary(KnownGenes):
    """The genes of a bank, and how many spots it has: what there is to know of it without its content."""

    spots: int
    found: Float32
    shares: Float32

    @classmethod
    def of_file(cls, path: Path) -> "BankSummary":
        """Read how many spots the file of a bank has and which genes.

        Raises
        ------
        UserError
            If the bank is missing or damaged.
        """
        import h5py

        check_hdf5(path)
        again = "get the checkpoint again"
        with readable(path, "is not a bank", again), h5py.File(path, "r") as file:
            rows = int(file["X"].attrs["shape"][0])
            var = _table(file["var"])
            found = np.diff(file["X/indptr"][:]).astype(np.float32) / np.float32(rows)  # the columns of X are genes
            if len(found) != len(var[SHARES]):
                raise UserError(f"{path} lists other genes than it has expression of; {again}.")
            return replace(cls.read(var, path, again, spots=rows), found=found)


def _table(group: Any) -> "pd.DataFrame":
    """Read a table of an AnnData as its file format has it, as anndata does, which takes a second to import.

    Source: the on-disk format of anndata 0.8, dataframes 0.2.0, with string, plain and categorical columns.
    """
    import h5py
    import pandas as pd

    def column(item: Any) -> Any:
        if isinstance(item, h5py.Group):
            return pd.Categorical.from_codes(item["codes"][:], column(item["categories"]))
        return item.asstr()[:] if h5py.check_string_dtype(item.dtype) else item[:]

    columns = {name: column(group[name]) for name in group.attrs["column-order"]}
    return pd.DataFrame(columns, index=column(group[group.attrs["_index"]]))
