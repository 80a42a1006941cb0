"""The size of a bank and its genes, read without its content."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_cmrcnet.common.errors import UserError, readable
from napari_cmrcnet.common.hdf5_checks import check_hdf5
from napari_cmrcnet.retrieval.expected import expected_in
from napari_cmrcnet.retrieval.genes import GeneNames

if TYPE_CHECKING:
    import pandas as pd

SHARES = "share_of_total"  # its name in var


@dataclass(frozen=True, eq=False)
class BankSummary:
    """What there is to know of a bank without its content.

    Parameters
    ----------
    spots : int
        How many it has.
    names : GeneNames
        Its genes.
    shares : float32 (genes,)
        The share that each gene has of a spot's total, the mean over its spots; all together less than 1 where totals
        were taken over more genes than the bank has.
    found : float32 (genes,)
        The share of its spots at which each gene was found.
    expected : float32 (genes, 2), optional
        The expected PCC of each gene, and what is left of it given depth; None where it is not known.
    """

    spots: int
    names: GeneNames
    shares: npt.NDArray[np.float32]
    found: npt.NDArray[np.float32]
    expected: npt.NDArray[np.float32] | None

    @classmethod
    def read(cls, path: Path) -> "BankSummary":
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
            if len(found) != len(var):
                raise UserError(f"{path} lists other genes than it has expression of; {again}.")
            return cls(rows, GeneNames.of(var), known_shares(var), found, expected_in(var, path, again))


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


def known_shares(var: "pd.DataFrame") -> npt.NDArray[np.float32]:
    """Return the shares that a bank's file holds.

    Raises
    ------
    UserError
        If they are not finite numbers.
    """
    shares = var[SHARES].to_numpy()
    if shares.dtype != np.float32 or not np.isfinite(shares).all():
        raise UserError("The bank has shares of totals that are not finite numbers; build the checkpoint again.")
    return shares
