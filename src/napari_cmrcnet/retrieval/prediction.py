"""Prediction: which bank spots were retrieved for each spot, and the expression that follows from them."""

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from anndata import AnnData

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.text import count_text
from napari_cmrcnet.retrieval import prediction_file
from napari_cmrcnet.retrieval.averages import Float32, Int32, Neighbourhoods, neighbour_weights, weighted_means
from napari_cmrcnet.retrieval.bank import Bank
from napari_cmrcnet.retrieval.case import Case
from napari_cmrcnet.retrieval.checkpoint import Checkpoint, find_checkpoint
from napari_cmrcnet.retrieval.genes import GeneNames, listed
from napari_cmrcnet.retrieval.likeness import LIKE
from napari_cmrcnet.retrieval.prediction_file import StoredGenes
from napari_cmrcnet.retrieval.provenance import Provenance
from napari_cmrcnet.sections.totals import IN_TOTAL


class Prediction(Case):
    """The result of a checkpoint on a section. Expression of any gene of the bank is computed when asked for.

    Parameters
    ----------
    spots, provenance, view
        As of `Case`.
    neighbours : int32 array, (n, k)
        Bank rows, the most similar first.
    similarity : float32 array, (n, k)
        Their cosine similarities.
    confidence : DataFrame, n rows
        As `confidence_table` gives it.
    bank : Bank, optional
        The checkpoint's bank. Without it, it is looked for in ``places`` when first needed.
    places : sequence of Path
        Where the checkpoint may be; without any, where the provenance says.
    stored : StoredGenes, optional
        The genes that the file holds: what is left to show without the bank.
    variable_genes : sequence of str
        The training sections' highly variable genes, see `Card`; the paper's scores take their genes of them.
    """

    def __init__(
        self,
        spots: AnnData,
        neighbours: Int32,
        similarity: Float32,
        confidence: pd.DataFrame,
        provenance: Provenance,
        *,
        bank: Bank | None = None,
        places: Sequence[Path] = (),
        stored: StoredGenes | None = None,
        variable_genes: Sequence[str] = (),
        view: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(spots, provenance, view)
        self.neighbours = neighbours
        self.similarity = similarity
        self.variable_genes = frozenset(variable_genes)
        self._confidence = confidence
        self._bank = bank
        known = (Path(provenance.checkpoint),) if provenance.checkpoint else ()
        self._places = tuple(places) or known
        self._stored = stored or StoredGenes(values=np.empty((len(neighbours), 0), np.float32), names=GeneNames((), ()))
        self._reason = ""

    def __repr__(self) -> str:
        known = self.__dict__.get("bank") or self._bank or self._stored  # a bank is not read for this
        genes = count_text(len(known.names.symbols), "gene")
        return f"<Prediction of {self.name}: {count_text(len(self), 'spot')}, {genes} at hand>"

    @property
    def prediction(self) -> "Prediction":
        """The case itself."""
        return self

    @cached_property
    def bank(self) -> Bank | None:
        """The checkpoint's bank, or None if the checkpoint is not where it was.

        Where the totals of the spots are over genes in common (`totals_of`), those of the bank are so, too.

        Raises
        ------
        UserError
            If the prediction names spots that the bank does not have.
        """
        bank = self._bank
        if bank is None and self.checkpoint is not None:
            try:
                bank = self.checkpoint.bank
            except UserError as error:  # it was changed
                self._reason = str(error)
        n = self.neighbours
        if bank is not None and n.size and not 0 <= n.min() <= n.max() < len(bank):
            raise UserError(
                f"The prediction of {self.name} names spots that its checkpoint does not have; predict again."
            )
        if bank is None or IN_TOTAL not in self.spots.var:
            return bank
        in_total = GeneNames.of(self.spots.var[self.spots.var[IN_TOTAL]])
        return bank.with_totals_over(np.flatnonzero(bank.names.places_in(in_total) >= 0))

    @cached_property
    def checkpoint(self) -> Checkpoint | None:
        """The checkpoint, of which parts are read when they are asked for; None where it is not where it was."""
        found, self._reason = find_checkpoint(self._places, self.provenance.checkpoint_digest)
        return found

    def bank_for(self, purpose: str) -> Bank:
        """Return the bank, which is needed for a purpose.

        Raises
        ------
        UserError
            If the checkpoint is not where it was.
        """
        if self.bank is None:
            raise self._moved(purpose)
        return self.bank

    def _moved(self, purpose: str) -> UserError:
        if self.provenance.external:
            name = Path(self.provenance.external).name
            return UserError(f"{name}, which another tool predicted, does not hold {purpose}.")
        reason = f" ({self._reason.rstrip('.')})" if self._reason else ""
        where = f"which was at {self.provenance.checkpoint}{reason}"
        said = f"The prediction of {self.name} needs its checkpoint for {purpose}, {where}; say where it is now."
        return UserError(said, setting="checkpoint")

    @property
    def _known(self) -> "Bank | StoredGenes":
        return self._stored if self.bank is None else self.bank

    @property
    def names(self) -> GeneNames:
        """The genes of `genes`, found by symbol or Ensembl id."""
        return self._known.names

    @property
    def genes(self) -> tuple[str, ...]:
        """Genes that `gene` and `expression` know: all of the bank, or the stored ones without it."""
        return self.names.symbols

    @cached_property
    def weights(self) -> Float32 | None:
        """How much each neighbour counts, float32 (n, k), each row adding up to 1; None where all count alike."""
        return neighbour_weights(self.similarity, self.provenance.weight_temperature)

    @cached_property
    def _neighbourhoods(self) -> Neighbourhoods:
        assert self.bank is not None
        return Neighbourhoods.of(self.neighbours, len(self.bank), self.weights)

    def gene(self, name: str) -> Float32:
        """Return the predicted expression of one gene, float32 (n,); see `expression`."""
        return self.expression([name])[:, 0]

    def expression(self, genes: str | Sequence[str], spots: slice = slice(None)) -> Float32:
        """Return predicted expression: the mean log-normalised expression of each spot's neighbours, by `weights`.

        Parameters
        ----------
        genes : sequence of str
            Symbols or Ensembl ids; one name counts as a sequence of one.
        spots : slice
            Of which spots.

        Returns
        -------
        float32 array, (n, len(genes))

        Raises
        ------
        UserError
            If a gene is not known, or the checkpoint that it takes is not where it was.
        """
        genes = listed(genes)
        if self.bank is not None:
            every = spots == slice(None)
            return self.bank.mean_expression(self._neighbourhoods if every else self._neighbourhoods[spots], genes)
        if missing := [gene for gene in genes if self.names.column(gene) is None]:
            raise self._moved(", ".join(missing[:5]))
        return np.ascontiguousarray(self._stored.values[spots, self.names.columns(genes, "The prediction")])

    @property
    def expected(self) -> Float32 | None:
        """The expected accuracy of `genes`, float32 (genes, 2), as `Bank` has it; None where it was not measured."""
        return self._known.expected

    @property
    def found(self) -> Float32 | None:
        """The share of the training spots at which each of `genes` was found, float32 (genes,); None if not known."""
        return self._known.found

    @property
    def interval(self) -> Float32 | None:
        """Half the width of the 90 % interval of a value of each of `genes`, float32 (genes,), log-normalised.

        None unless it was measured on left-out patients and the slide is like the training tissue: elsewhere intervals
        are too narrow. None too where totals are taken over fewer genes than in training.
        """
        likeness = self.provenance.likeness
        if likeness is None or likeness.verdict != LIKE or IN_TOTAL in self.spots.var:
            return None
        return self._known.interval

    @cached_property
    def predicted_means(self) -> Float32:
        """The mean of each gene of `genes` over `counted_spots`, predicted, float32 (genes,).

        One pass over the bank, its spots weighted by how much they were retrieved: no spot's value is computed.
        """
        counted = self.counted_spots()
        counted = counted if counted.any() else ~counted
        if self.bank is None:
            return np.asarray(self._stored.values[counted].mean(axis=0, dtype=np.float64), np.float32)
        return weighted_means(self.bank.expression, self._neighbourhoods[counted].retrieved())

    def confidence(self, gene: str | None = None) -> pd.DataFrame:
        """Return how far each spot's value can be trusted.

        Parameters
        ----------
        gene : str, optional
            Adds the column ``spread``: the standard deviation of its expression over the neighbours, by `weights`.

        Returns
        -------
        DataFrame, n rows
            ``mean_similarity``, by `weights`, and ``best_similarity`` (cosine), and ``sections``, the number of
            sections among the neighbours; none of these of another tool's prediction.
        """
        table = self._confidence.copy()
        if gene is not None:
            bank = self.bank_for(f"the spread of {gene}")
            table["spread"] = bank.expression_spread(self._neighbourhoods, [gene])[:, 0]
        return table

    def out_of_distribution(self) -> npt.NDArray[np.bool_] | None:
        """Say which spots are unlike anything in the bank, bool (n,); None where the checkpoint does not know.

        Their best similarity is below what the training spots' own is; see ``Provenance.similarity_floor``.
        """
        floor = self.provenance.similarity_floor
        return None if floor is None else self._confidence["best_similarity"].to_numpy() < floor

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the prediction as .h5ad, whole or not at all; an existing file is replaced. See `prediction_file`."""
        prediction_file.save(self, path)
        self.path = Path(path)

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], checkpoint: Checkpoint | str | os.PathLike[str] | None = None
    ) -> "Prediction":
        """Read a prediction.

        Parameters
        ----------
        path : path
            What `save` wrote.
        checkpoint : Checkpoint or path, optional
            Its checkpoint, if that is not where it was.

        Raises
        ------
        UserError
            If the file is not a prediction, or the checkpoint given is not the one that made it. A checkpoint that
            is merely gone is no error: the stored genes can be shown without it.
        """
        return prediction_file.load(cls, path, checkpoint)
