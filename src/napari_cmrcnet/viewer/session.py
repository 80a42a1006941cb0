"""Session: what is looked at. Panels and layers are drawn from it and change it; it knows neither napari nor Qt."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from psygnal import Signal

from napari_cmrcnet.viewer.look import Look, View

if TYPE_CHECKING:
    from napari_cmrcnet.evaluation.scores import Scores
    from napari_cmrcnet.retrieval.prediction import Prediction
    from napari_cmrcnet.sections.panels import Panel
    from napari_cmrcnet.sections.regions import Region
    from napari_cmrcnet.sections.slide import Slide

Float32 = npt.NDArray[np.float32]

UNIT = "log-norm."  # log-normalised expression: natural log of 1 + counts in 10,000 of the spot
OF_SCORES = ("low", "high", "spearman", "partial_pcc")  # what `Shown` has of the scores' table


@dataclass(frozen=True, eq=False)
class Shown:
    """The gene, or the score of a panel, that all views show.

    Parameters
    ----------
    name : str
        The gene's symbol or the panel's name.
    kind : "gene" or "panel"
        What it is.
    unit : str
        Of the values.
    predicted : float32 (n,)
        A value a spot.
    measured : float32 (n,) or None
        None where it was not measured.
    pcc : float
        Their Pearson correlation over the spots that count, NaN where it is undefined.
    undefined : str
        Why the correlation is undefined, ``""`` where it is not.
    low, high : float
        Its 95 % bootstrap interval, NaN while it is not known.
    flat : bool
        Whether the prediction hardly varies.
    spearman, partial_pcc : float
        Spearman's correlation, and the partial one given depth; NaN while they are not known, and of a panel.
    counted : bool (n,), optional
        The spots that count in the correlations, see `counted_spots`; all if not given.
    section : str
        Whose values they are, see `section_of`.
    """

    name: str
    kind: Literal["gene", "panel"]
    unit: str
    predicted: Float32
    measured: Float32 | None
    pcc: float
    undefined: str
    low: float = float("nan")
    high: float = float("nan")
    flat: bool = False
    spearman: float = float("nan")
    partial_pcc: float = float("nan")
    counted: npt.NDArray[np.bool_] | None = None
    section: str = ""

    @property
    def score(self) -> str:
        """PCC with its interval, or why there is none."""
        from napari_cmrcnet.evaluation.headline import score_line

        measured = self.measured is not None
        return score_line(measured, self.pcc, self.low, self.high, undefined=self.undefined, flat=self.flat)

    @property
    def title(self) -> str:
        """Section, name, score and number of spots, in one line."""
        from napari_cmrcnet.evaluation.counted import spots_in_words
        from napari_cmrcnet.evaluation.headline import headline

        n = f"n = {spots_in_words(self.spots, len(self.predicted))}"
        return "   ".join(filter(None, [self.section, headline(self.name, self.score), n]))

    @property
    def spots(self) -> int:
        """Spots that count in the score; all of what was not measured."""
        return len(self.predicted) if self.measured is None or self.counted is None else int(self.counted.sum())

    @property
    def tip(self) -> str:
        """What the title leaves out: other correlations, which spots count, and what an interval does not say."""
        from napari_cmrcnet.evaluation.headline import score_tip

        if self.measured is None or self.undefined:
            return ""
        interval = not np.isnan(self.low)
        return score_tip(self.pcc, self.spearman, self.partial_pcc, self.spots, len(self.predicted), interval)


class Session:
    """A prediction, what of it is shown, and how.

    Attributes
    ----------
    prediction : Prediction or None
        What is looked at.
    slide : Slide or None
        The histology under it, open; None where it is not at hand.
    scores : Scores or None
        PCC of every gene with intervals; None until they are computed, or where nothing was measured.
    scoring : bool
        Whether they, or their intervals, are being computed.
    shown : Shown or None
        The gene or panel score that the views show.
    look : Look
        How it is drawn.
    selected : int64 array
        Rows of the selected spots, ascending.
    panels : mapping of str to Panel
        The paper's panels, and those that the user made or loaded in this session, by name.
    regions : tuple of Region
        Outlines drawn or imported.
    listed : sequence of str
        Genes in the order in which a list shows them: what `step` walks through.

    Notes
    -----
    Signals, each emitted once after a change; none has arguments but what is said here. After ``prediction_changed``
    all may be another:

    ``prediction_changed``; ``scores_changed``; ``scoring_changed``; ``shown_changed``; ``look_changed(new, old)``;
    ``selection_changed``; ``panels_changed``; ``regions_changed``.
    """

    prediction_changed = Signal()
    scores_changed = Signal()
    scoring_changed = Signal()
    shown_changed = Signal()
    look_changed = Signal(Look, Look)
    selection_changed = Signal()
    panels_changed = Signal()
    regions_changed = Signal()

    def __init__(self) -> None:
        from napari_cmrcnet.sections.panels import PANELS

        self.prediction: Prediction | None = None
        self.slide: Slide | None = None
        self.scores: Scores | None = None
        self.scoring = False
        self.shown: Shown | None = None
        self.look = Look()
        self.selected: npt.NDArray[np.int64] = np.empty(0, np.int64)
        self.panels: dict[str, Panel] = {panel.name: panel for panel in PANELS.values()}
        self.regions: tuple[Region, ...] = ()
        self.listed: Sequence[str] = ()

    def set_prediction(
        self, prediction: "Prediction | None", slide: "Slide | None" = None, scores: "Scores | None" = None
    ) -> None:
        """Look at another prediction, with the gene and look that its file remembers, or at none."""
        another = prediction is not self.prediction
        self.scoring = self.scoring and not another
        self.prediction, self.slide, self.scores, self.shown = prediction, slide, scores, None
        self.selected = np.empty(0, np.int64)
        self.listed = () if prediction is None else prediction.genes
        remembered = prediction.view if prediction is not None else {}
        before = self.look
        if remembered:
            self.look = Look.from_dict(remembered)
        if another and prediction is not None and prediction.panel is not None:
            self.panels[prediction.panel.name] = prediction.panel
        self.prediction_changed.emit()
        if self.look != before:
            self.look_changed.emit(self.look, before)
        if prediction is not None:
            self._show_first(remembered)

    def _show_first(self, remembered: Mapping[str, Any]) -> None:
        """Show the gene that was shown, else the first marker, else the most expressed gene."""
        prediction = self.prediction
        assert prediction is not None
        shown, kind = remembered.get("shown"), remembered.get("kind")
        if kind == "panel" and shown in self.panels:
            self.show_panel(self.panels[shown])
            return
        markers = prediction.panel.genes if prediction.panel is not None else ()
        known = [gene for gene in (shown, *markers) if isinstance(gene, str) and self.knows(gene)]
        if known or prediction.genes:
            self.show(known[0] if known else prediction.genes[0])

    def knows(self, gene: str) -> bool:
        """Whether the prediction has a gene, by symbol or Ensembl id."""
        return self.prediction is not None and self.prediction.names.column(gene) is not None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What must be known of the prediction, as reports and figures say it too."""
        from napari_cmrcnet.retrieval.leaks import warnings_of

        return () if self.prediction is None else warnings_of([self.prediction])

    def set_scoring(self, under_way: bool) -> None:
        """Note whether the scores are being computed, as they no longer are after Cancel."""
        if under_way != self.scoring:
            self.scoring = under_way
            self.scoring_changed.emit()

    def set_scores(self, scores: "Scores") -> None:
        """Take the scores of the prediction; the shown gene gets its interval."""
        self.scores = scores
        self.scores_changed.emit()
        if self.shown is not None and self.shown.kind == "gene":
            self.shown = replace(self.shown, **self._of_scores(self.shown.name))
            self.shown_changed.emit()

    def show(self, gene: str) -> None:
        """Show a gene, by symbol or Ensembl id.

        Raises
        ------
        UserError
            If the prediction does not have it, or needs a checkpoint for it that has moved.
        """
        from napari_cmrcnet.evaluation.colour_limits import hardly_varies

        prediction = self._asked()
        column = prediction.names.column(gene)
        name = gene if column is None else prediction.genes[column]
        predicted = prediction.gene(name)
        measured = prediction.measured([name]) if name in prediction.measured_set else None
        flat = hardly_varies(predicted)
        self._set_shown(name, "gene", UNIT, predicted, None if measured is None else measured[:, 0], flat)

    def show_panel(self, panel: "Panel") -> None:
        """Show the score of a panel: the mean over its genes of their z-scores over the section's spots.

        Raises
        ------
        UserError
            If the prediction has none of its genes.
        """
        from napari_cmrcnet.evaluation.colour_limits import hardly_varies
        from napari_cmrcnet.evaluation.metrics import mean_z
        from napari_cmrcnet.evaluation.plot_style import PANEL_UNIT

        prediction = self._asked()
        genes = panel_genes(prediction, panel)
        predicted = prediction.expression(genes)
        both = [gene for gene in genes if gene in prediction.measured_set]
        truth = prediction.measured(both) if both else None
        measured = None if truth is None else mean_z(truth)
        self._set_shown(panel.name, "panel", PANEL_UNIT, mean_z(predicted), measured, hardly_varies(predicted))

    def step(self, by: int) -> None:
        """Show the gene that is so many places further down the list, up to its ends."""
        if self.shown is None or not self.listed:
            return
        try:
            place = self.listed.index(self.shown.name) + by
        except ValueError:  # the list is filtered, or a panel's score is shown
            place = 0
        self.show(self.listed[min(max(place, 0), len(self.listed) - 1)])

    def set_look(self, **changes: Any) -> None:
        """Change how expression is drawn; the arguments are fields of `Look`."""
        before = self.look
        self.look = replace(before, **changes)
        if self.look != before:
            self.look_changed.emit(self.look, before)

    def flip(self) -> None:
        """Swap predicted and measured in front; overlaid, if it was side by side."""
        other: View = "measured" if self.look.front == "predicted" else "predicted"
        if other == "measured" and (self.shown is None or self.shown.measured is None):
            return
        self.set_look(layout="overlaid", front=other)

    def select(self, spots: Iterable[int]) -> None:
        """Select spots by their rows."""
        chosen = np.unique(np.fromiter(spots, np.int64))
        if not np.array_equal(chosen, self.selected):
            self.selected = chosen
            self.selection_changed.emit()

    def add_panel(self, panel: "Panel") -> None:
        """Add a panel, or replace the one of its name; where its score is shown, it is shown anew."""
        self.panels[panel.name] = panel
        self.panels_changed.emit()
        if self.shown is not None and (self.shown.kind, self.shown.name) == ("panel", panel.name):
            if any(map(self.knows, panel.genes)):
                self.show_panel(panel)
            else:
                self._show_first({})

    def set_regions(self, regions: "Iterable[Region]") -> None:
        """Take the outlines that were drawn or imported."""
        self.regions = tuple(regions)
        self.regions_changed.emit()

    def view_record(self) -> dict[str, Any]:
        """Return what a saved prediction remembers: the look, and what is shown."""
        shown = {} if self.shown is None else {"shown": self.shown.name, "kind": self.shown.kind}
        return self.look.to_dict() | shown

    def _asked(self) -> "Prediction":
        from napari_cmrcnet.common.errors import UserError

        if self.prediction is None:
            raise UserError("There is no prediction yet; press Predict, or open a saved one.")
        return self.prediction

    def _set_shown(
        self,
        name: str,
        kind: Literal["gene", "panel"],
        unit: str,
        predicted: Float32,
        measured: Float32 | None,
        flat: bool,
    ) -> None:
        from napari_cmrcnet.evaluation.counted import one_pcc
        from napari_cmrcnet.evaluation.headline import section_of
        from napari_cmrcnet.evaluation.scores import counted_spots

        prediction = self._asked()
        counted = counted_spots(prediction)
        correlation, reason = one_pcc(measured, predicted, counted, gene=kind == "gene")
        shown = Shown(name, kind, unit, predicted, measured, correlation, reason, flat=flat)
        of_scores = self._of_scores(name) if kind == "gene" else {}
        self.shown = replace(shown, counted=counted, section=section_of(prediction), **of_scores)
        self.shown_changed.emit()

    def _of_scores(self, gene: str) -> dict[str, Any]:
        if self.scores is None or gene not in self.scores.table.index:
            return {}
        row = self.scores.table.index.get_loc(gene)
        return {name: float(self.scores.table[name].to_numpy()[row]) for name in OF_SCORES}


def panel_genes(prediction: "Prediction", panel: "Panel") -> list[str]:
    """Return a panel's genes that a prediction has, by the prediction's names.

    Raises
    ------
    UserError
        If it has none.
    """
    from napari_cmrcnet.common.errors import UserError

    names = prediction.names
    columns = [column for gene in panel.genes if (column := names.column(gene)) is not None]
    if not columns:
        raise UserError(f"The prediction has none of the genes of the panel {panel.name}; choose another panel.")
    return [names.symbols[column] for column in dict.fromkeys(columns)]
