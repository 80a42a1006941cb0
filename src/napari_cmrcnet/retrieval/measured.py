"""Measured expression of a prediction's section, by the names that the prediction has for genes."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import compress
from typing import Any

import numpy as np
import numpy.typing as npt
from anndata import AnnData

from napari_cmrcnet.common.metrics import highest
from napari_cmrcnet.retrieval.averages import weighted_means
from napari_cmrcnet.retrieval.genes import GeneNames
from napari_cmrcnet.sections.expression import log_normalise

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Measured:
    """Measured expression, log-normalised once, when it is first asked for.

    Parameters
    ----------
    spots : AnnData
        As `log_normalise` takes them.
    names : GeneNames
        Genes as they are asked for; the spots' file may call them otherwise.
    target_sum : float
        Total of a spot's counts after normalisation.
    where : str
        What to call the counts in messages.
    counted : bool (n,)
        The spots that means are over.
    """

    spots: AnnData
    names: GeneNames
    target_sum: float
    where: str
    counted: npt.NDArray[np.bool_]

    @cached_property
    def own_names(self) -> GeneNames:
        """The genes as the spots' file calls them."""
        return GeneNames.of(self.spots.var)

    @cached_property
    def _places(self) -> npt.NDArray[np.intp]:
        """Where the spots' file has each gene of the names, -1 where it was not measured."""
        return self.names.places_in(self.own_names)

    @cached_property
    def _values(self) -> Any:
        return log_normalise(self.spots, self.target_sum).tocsc()

    @cached_property
    def genes(self) -> tuple[str, ...]:
        """Those of the names that were measured."""
        return tuple(compress(self.names.symbols, self._places >= 0))

    def expression(self, genes: Sequence[str]) -> Float32:
        """Return log-normalised values, float32 (n, len(genes)).

        Raises
        ------
        UserError
            If a gene was not measured.
        """
        columns = self.own_names.columns([self._own_name(gene) for gene in genes], self.where)
        values: Float32 = self._values[:, columns].toarray()
        return values

    @cached_property
    def means(self) -> Float32:
        """The mean over the spots that count of each gene of the names, NaN where not measured, float32 (genes,)."""
        means = np.full(len(self.names.symbols), np.nan, np.float32)
        here = self._places >= 0
        means[here] = self._own_means[self._places[here]]
        return means

    @cached_property
    def rest(self) -> npt.NDArray[np.int64]:
        """Places in the spots' file of the genes that the names do not have, int64 (genes,)."""
        known = set(self._places.tolist())
        symbols = enumerate(self.own_names.symbols)
        return np.array(
            [at for at, gene in symbols if at not in known and self.names.exact_column(gene) is None], np.int64
        )

    @property
    def means_of_rest(self) -> Float32:
        """The mean over the spots that count of each gene of the rest, float32 (genes,)."""
        return self._own_means[self.rest]

    @cached_property
    def top(self) -> dict[str, tuple[str, ...]]:
        """The genes of highest mean (HEG) and of highest variance (HVG), as `highest` gives them."""
        squares = self._values.copy()
        squares.data **= 2
        means = self._own_means.astype(np.float64)
        variances = weighted_means(squares, self._weights) - means**2
        symbols = self.own_names.symbols
        return {"HEG": highest(means, symbols), "HVG": highest(variances, symbols)}

    @cached_property
    def _own_means(self) -> Float32:
        return weighted_means(self._values, self._weights)

    @property
    def _weights(self) -> npt.NDArray[np.float64]:
        return np.asarray(self.counted if self.counted.any() else ~self.counted, np.float64)

    def _own_name(self, gene: str) -> str:
        """Return what the spots' file calls a gene of the names; any other is asked for as it stands."""
        column = self.names.column(gene)
        place = -1 if column is None else self._places[column]
        return gene if place < 0 else self.own_names.symbols[place]
