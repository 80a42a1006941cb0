"""Case: a section as it is looked at. What was measured in it is here; a `Prediction` adds what is predicted."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from anndata import AnnData

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.text import count_text
from napari_cmrcnet.retrieval.genes import GeneNames, listed
from napari_cmrcnet.retrieval.measured import Measured
from napari_cmrcnet.retrieval.provenance import Provenance
from napari_cmrcnet.sections.classes import Classes, classes_of
from napari_cmrcnet.sections.formats.origin import Origin, is_normalised, spot_diameter, unit_of
from napari_cmrcnet.sections.nearby_spots import windows
from napari_cmrcnet.sections.panels import Panel
from napari_cmrcnet.sections.pixel_size import PixelSize, pixel_size
from napari_cmrcnet.sections.pooling import NONE, pooled_from
from napari_cmrcnet.sections.score_filter import scored_spots
from napari_cmrcnet.sections.section import patient_of, pooled
from napari_cmrcnet.sections.totals import total_genes, totals_of

if TYPE_CHECKING:
    from napari_cmrcnet.retrieval.prediction import Prediction
    from napari_cmrcnet.slides.slide import Slide

Float32 = npt.NDArray[np.float32]


class Case:
    """A section as it is looked at: its spots, the genes measured there, and where it comes from.

    Parameters
    ----------
    spots : AnnData
        Spots in the convention of `open_spots`; ``X`` the measured counts, or None.
    provenance : Provenance
        What it was made from.
    view : dict, optional
        What is remembered of how it was looked at, as JSON can hold it.

    Attributes
    ----------
    view : dict
        As above; may be set.
    variable_genes : frozenset of str
        The highly variable genes of the training sections; none where nothing is predicted.
    path : Path or None
        The file of a prediction that was loaded or saved; None of a measured section.
    unpooled : Case or None
        The cells or bins that the spots were pooled from, where these are at hand; see `pooled`.
    """

    def __init__(self, spots: AnnData, provenance: Provenance, view: dict[str, Any] | None = None) -> None:
        self.spots = spots
        self.provenance = provenance
        self.view = view if view is not None else {}
        self.path: Path | None = None
        self.unpooled: Case | None = None
        self.variable_genes: frozenset[str] = frozenset()
        self._windows: dict[float, Any] = {}

    @classmethod
    def of(cls, spots: AnnData, name: str, slide: "Slide | None" = None) -> "Case":
        """Return the case of spots that were measured and of their slide; in pixels where their size is not known.

        Parameters
        ----------
        spots : AnnData
            As `open_spots` gives them.
        name : str
            The section's.
        slide : Slide, optional
            What they lie on.
        """
        about = Origin.of(spots)
        notes = about.notes
        try:
            size = pixel_size(spots, slide)
        except UserError as reason:
            size, notes = PixelSize(0.0, ""), (*notes, str(reason))
        found = Provenance.of(spots, slide, size, name, patient_of(spots))
        totals = 0 if spots.X is None or about.normalised else total_genes(spots)
        return cls(spots, replace(found, total_genes=totals, notes=(*notes, *size.disagreements)))

    def pooled(self, wanted: str) -> "Case":
        """Return the measured section with its cells or bins pooled to spots, or as they are.

        Parameters
        ----------
        wanted : str
            As `sections.pooling.pool_for` takes it.

        Raises
        ------
        UserError
            If no cell lies in a spot.
        """
        if wanted == NONE:
            return self
        spots = pooled(self.spots, self.provenance.mpp, wanted)
        notes = (*self.provenance.notes, *Origin.of(spots).notes[-1:])
        case = Case(spots, replace(self.provenance, pool=wanted, notes=notes))
        case.unpooled = self
        return case

    @property
    def unit(self) -> str:
        """What was measured one by one: ``"spot"``, ``"bin"`` or ``"cell"``."""
        return unit_of(self.spots)

    @property
    def poolable(self) -> str:
        """What of a measured section can be pooled, ``"cell"`` or ``"bin"``; ``""`` where that is nothing."""
        whole = self.unpooled or self
        if self.prediction is not None or not whole.counted or not whole.provenance.mpp:
            return ""
        return "" if whole.unit == "spot" else pooled_from(whole.spots)

    def __repr__(self) -> str:
        genes = count_text(len(self.genes), "gene")
        return f"<Measured section {self.name}: {count_text(len(self), self.unit)}, {genes}>"

    def __len__(self) -> int:
        return int(self.spots.n_obs)

    @property
    def prediction(self) -> "Prediction | None":
        """The case itself where it is predicted, None where it is only measured."""
        return None

    def is_of_section(self, other: "Case | None") -> bool:
        """Whether both are of one section: its spots were read from one place, or they lie on one slide."""
        if other is None:
            return False
        one, two = self.provenance, other.provenance
        same_spots = bool(one.spots) and (one.spots, one.library) == (two.spots, two.library)
        return same_spots or (bool(one.slide) and one.slide == two.slide)

    @property
    def name(self) -> str:
        """The section's name."""
        return self.provenance.section

    @property
    def panel(self) -> Panel | None:
        """Marker genes that are shown first."""
        return self.provenance.panel

    @property
    def xy(self) -> npt.NDArray[np.float64]:
        """Spot centres (x, y) in full-resolution pixels, float64 (n, 2)."""
        return np.asarray(self.spots.obsm["spatial"], np.float64)

    @property
    def spot_diameter(self) -> float:
        """Of a spot, in full-resolution pixels."""
        return spot_diameter(self.spots)

    @cached_property
    def names(self) -> GeneNames:
        """The genes of `genes`, found by symbol or Ensembl id."""
        return GeneNames.of(self.spots.var)

    @property
    def genes(self) -> tuple[str, ...]:
        """Genes that can be looked at."""
        return self.names.symbols

    @cached_property
    def all_names(self) -> GeneNames:
        """All genes that can be looked at: `names`, and after them what was measured but cannot be predicted."""
        rest = () if self._measured is None else self._measured.rest.tolist()
        if self._measured is None or not rest:
            return self.names
        own = self._measured.own_names
        symbols, ids = ([whole[place] for place in rest] for whole in (own.symbols, own.ids))
        return GeneNames((*self.names.symbols, *symbols), (*self.names.ids, *ids))

    @cached_property
    def _measured(self) -> Measured | None:
        if self.spots.X is None:
            return None
        about = self.provenance
        return Measured(self.spots, self.names, about.target_sum, about.spots, self.counted_spots())

    @property
    def measured_genes(self) -> tuple[str, ...]:
        """Those of `genes` that were measured."""
        return () if self._measured is None else self._measured.genes

    @cached_property
    def measured_set(self) -> frozenset[str]:
        """The genes of `measured_genes`, to look one up in."""
        return frozenset(self.measured_genes)

    def measured(self, genes: str | Sequence[str]) -> Float32 | None:
        """Return the measured expression, log-normalised, float32 (n, len(genes)); None without measurements.

        One name counts as a sequence of one, as in `Prediction.expression`.

        Raises
        ------
        UserError
            If a gene was not measured.
        """
        return None if self._measured is None else self._measured.expression(listed(genes))

    @cached_property
    def totals(self) -> npt.NDArray[np.float64] | None:
        """Counts of each spot, as `totals_of` takes them, float64 (n,); None without counts."""
        return totals_of(self.spots) if self.counted else None

    def counted_spots(self, min_umi: int | None = None) -> npt.NDArray[np.bool_]:
        """Return which spots count in scores, bool (n,), see `scored_spots`; without counts, all do."""
        if self.totals is None:
            return np.ones(len(self), bool)
        return scored_spots(self.totals, total_genes(self.spots), min_umi)

    @property
    def counted(self) -> bool:
        """Whether the measurements are counts; those of a file may be log-normalised already."""
        return self.spots.X is not None and not is_normalised(self.spots)

    def measured_means(self) -> Float32:
        """Return the mean of each gene of `genes` over `counted_spots`, NaN where not measured, float32 (genes,)."""
        return np.full(len(self.genes), np.nan, np.float32) if self._measured is None else self._measured.means

    @property
    def measured_sets(self) -> dict[str, tuple[str, ...]]:
        """The measured genes of highest mean, ``HEG``, and of highest variance, ``HVG``, by the spots' own names."""
        return {"HEG": (), "HVG": ()} if self._measured is None else self._measured.top

    def all_measured_means(self) -> Float32:
        """Return the same of the genes of `all_names`, float32 (genes,)."""
        rest = () if self._measured is None else self._measured.means_of_rest
        return np.concatenate([self.measured_means(), rest]).astype(np.float32)

    @cached_property
    def classes(self) -> dict[str, Classes]:
        """The classes of each column of ``obs`` that holds some: clusters, annotations, cell types."""
        return classes_of(self.spots.obs)

    def windows(self, radius_um: float) -> Any:
        """Return which spots lie within so many µm of which, see `nearby_spots.windows`; the last one is kept."""
        if radius_um not in self._windows:
            self._windows = {radius_um: windows(self.xy, radius_um / self.provenance.mpp)}
        return self._windows[radius_um]

    def confidence(self, gene: str | None = None) -> pd.DataFrame:  # noqa: ARG002 - predictions have a spread of it
        """Return how far each spot's predicted value can be trusted, n rows: no column where none is predicted."""
        return pd.DataFrame(index=self.spots.obs_names)

    def out_of_distribution(self) -> npt.NDArray[np.bool_] | None:
        """Say which spots are unlike anything that the model has seen, bool (n,); None where that is not known."""
        return None
