"""The size of a bank and its genes, read without its content."""

from dataclasses import dataclass
from pathlib import Path

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.hdf5_checks import check_hdf5
from napari_cmrcnet.retrieval.card import BANK
from napari_cmrcnet.retrieval.genes import GeneNames


@dataclass(frozen=True, eq=False)
class BankSummary:
    """The size of a bank and its genes, without its content."""

    spots: int
    names: GeneNames


def read_bank_summary(checkpoint: Path) -> BankSummary:
    """Read how many spots a checkpoint's bank has and which genes.

    Raises
    ------
    UserError
        If the bank is missing or damaged. Its hash is not verified here, but when the checkpoint is loaded.
    """
    import h5py
    from anndata.io import read_elem

    path = checkpoint / BANK
    check_hdf5(path)
    try:
        with h5py.File(path, "r") as file:
            rows = int(file["X"].attrs["shape"][0])
            return BankSummary(rows, GeneNames.of(read_elem(file["var"])))
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise UserError(f"{path} is not a bank ({error}); get the checkpoint again.") from error
