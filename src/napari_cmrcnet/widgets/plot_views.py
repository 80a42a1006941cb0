"""The plots of the panel: what each takes, how it is drawn from the session, and what the mouse does in it."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QComboBox

from napari_cmrcnet.evaluation.headline import section_of
from napari_cmrcnet.evaluation.picture_file import save_figure
from napari_cmrcnet.evaluation.plot_style import UNIT
from napari_cmrcnet.evaluation.plots_moments import MomentPlot
from napari_cmrcnet.evaluation.plots_sets import SetPlot
from napari_cmrcnet.evaluation.plots_spots import SpotPlot
from napari_cmrcnet.viewer.session import Session
from napari_cmrcnet.widgets.parts import fill_choice

if TYPE_CHECKING:
    from matplotlib.axes import Axes


SCORED = ("HEG", "HVG")  # sets that come from the scores

GeneSet = tuple[str, tuple[str, ...]]


class GeneSetChoice(QComboBox):
    """Offers the sets of a session.

    Parameters
    ----------
    session : Session
        What is looked at.
    tip : str
        What the genes are for.
    """

    def __init__(self, session: Session, tip: str) -> None:
        super().__init__()
        self.session = session
        self.setToolTip(tip)
        self.list_sets()

    def list_sets(self) -> None:
        """Offer HEG, HVG and the panels of the session, the prediction's own first; the choice stays if it can."""
        case, names = self.session.case, list[str]()
        if case is not None:
            own = [case.panel.name] if case.panel is not None else []
            others = sorted((name for name in self.session.panels if name not in own), key=str.casefold)
            names = [*own, *SCORED, *others]
        fill_choice(self, [(name, name) for name in names], self.currentText())

    def genes(self) -> GeneSet | None:
        """Return name and genes of the chosen set; None where the scores that name them are not there yet."""
        name, scores, case = self.currentText(), self.session.scores, self.session.case
        if name in SCORED and case is not None and case.prediction is None:
            return name, case.measured_sets[name]
        if name in SCORED:
            return None if scores is None else (name, tuple(scores.table.index[scores.table[name]]))
        panel = self.session.panels.get(name)
        return (name, panel.genes) if panel is not None else (name, ())


_DPI = 300  # of saved pictures
NO_PREDICTION = "There is no prediction yet. Press Predict in the Predict panel, or open a saved prediction."
NOTHING_MEASURED = (
    "This section has no measured expression to compare with. To see this plot, predict a section whose spots "
    "have counts."
)
SCORING = "The scores of the genes are still being computed. The plot appears when they are ready."
NO_SCORES = "The scores of the genes have not been computed. Press Compute scores in the Genes panel to see this plot."


def no_scores(session: Session) -> str:
    """Say why a plot of the score table has to wait."""
    return SCORING if session.scoring else NO_SCORES


class PlotView(ABC):
    """What the plots have in common. They show a gene when its dot is clicked.

    Attributes
    ----------
    drawing : type
        The plot; it is made of an empty figure.
    title : str
        In the list of plots.
    hint : str
        What the mouse does, for the line under the plot.
    selects : bool
        Whether a lasso selects spots in it.
    choice : GeneSetChoice or None
        The genes that it is of, where they are chosen.
    """

    drawing: type[Any]
    title = ""
    hint = ""
    selects = False
    choice: "GeneSetChoice | None" = None

    def __init__(self, session: Session) -> None:
        self.session = session

    def prepare(self) -> str:
        """Return why the plot cannot be drawn and what to do, ``""`` where it can."""
        if self.session.prediction is None:
            return NO_PREDICTION
        return NOTHING_MEASURED if self.session.prediction.spots.X is None else ""

    @property
    def section(self) -> str:
        """Which section it is of, as figures say it."""
        return "" if self.session.case is None else section_of(self.session.case)

    @abstractmethod
    def draw(self, plot: Any) -> None:
        """Bring a plot up to date with the session."""

    def bring(self, plot: Any, source: object, *given: Any) -> None:
        """Let a plot show what is given, if what it was drawn from is another object, and mark the shown gene in it."""
        if plot.source is not source:
            plot.show(*given)
            plot.source = source
        shown = self.session.shown
        plot.mark("" if shown is None else shown.name, float("nan") if shown is None else shown.pcc)

    def save(self, path: Path) -> None:
        """Write the plot, drawn for print, as PNG, SVG or PDF."""
        from matplotlib.figure import Figure

        plot = self.drawing(Figure(dpi=_DPI))
        self.draw(plot)
        plot.for_print(self.section)
        save_figure(plot.figure, path)

    def tip(self, plot: Any, axis: "Axes", at: tuple[float, float]) -> str:
        """Return what is at a place of the canvas, in pixels."""
        return str(plot.tip(axis, at))

    def click(self, plot: Any, axis: "Axes", at: tuple[float, float], add: bool) -> None:  # noqa: ARG002
        """Show the gene at a place of the canvas, in pixels."""
        gene = plot.gene_at(axis, at)
        if gene is not None:
            self.session.show(gene)

    def select(self, plot: Any, outline: Sequence[tuple[float, float]], add: bool) -> None:  # noqa: B027 - most have none
        """Select the spots within an outline in data coordinates, where spots can be selected."""


class SpotView(PlotView):
    """Predicted against measured expression of the shown gene."""

    drawing = SpotPlot
    title = "Predicted against measured"
    hint = "Draw around dots to select their spots, or click one. Hold Shift to add to the selection."
    selects = True

    def prepare(self) -> str:
        """Return why the plot cannot be drawn and what to do, ``""`` where it can."""
        shown = self.session.shown
        if reason := super().prepare():
            return reason
        if shown is None:
            return "No gene is shown yet. Choose one in the Genes panel."
        if shown.predicted is None:
            return f"{shown.name} is not predicted. Choose another gene to compare."
        if shown.measured is None:
            return f"{shown.name} was not measured in this section. Choose another gene to compare."
        return ""

    def draw(self, plot: Any) -> None:
        """Bring a plot up to date with the session."""
        shown = self.session.shown
        assert shown is not None
        unit = UNIT if shown.kind == "gene" else shown.unit
        plot.show(shown.name, shown.measured, shown.predicted, shown.score, unit, shown.spots)
        plot.select(self.session.selected)

    def tip(self, plot: Any, axis: "Axes", at: tuple[float, float]) -> str:  # noqa: ARG002 - one axis
        """Return the spot at a place of the canvas, with its values."""
        row = plot.spot_at(at)
        if row is None or self.session.case is None:
            return ""
        return f"{self.session.case.spots.obs_names[row]}\nmeasured {plot.x[row]:.2f}, predicted {plot.y[row]:.2f}"

    def click(self, plot: Any, axis: "Axes", at: tuple[float, float], add: bool) -> None:  # noqa: ARG002 - one axis
        """Select the spot at a place of the canvas; a click beside all dots selects none."""
        row = plot.spot_at(at)
        self._select([] if row is None else [row], add)

    def select(self, plot: Any, outline: Sequence[tuple[float, float]], add: bool) -> None:
        """Select the spots within an outline in data coordinates."""
        self._select(plot.spots_within(outline), add)

    def _select(self, rows: Sequence[int], add: bool) -> None:
        self.session.select([*self.session.selected, *rows] if add else rows)


class ScoreView(PlotView):
    """A plot of the score table, with one dot per gene."""

    hint = "Click a dot to show its gene."

    def prepare(self) -> str:
        """Return why the plot cannot be drawn and what to do, ``""`` where it can."""
        return super().prepare() or ("" if self.session.scores is not None else no_scores(self.session))

    def draw(self, plot: Any) -> None:
        """Bring a plot up to date with the session; it is drawn again only for new scores."""
        scores = self.session.scores
        assert scores is not None
        self.bring(plot, scores, scores.table)


class SetView(ScoreView):
    """Box plots of PCC by gene set."""

    drawing = SetPlot
    title = "PCC by gene set"


class MomentView(ScoreView):
    """Mean and variance of every gene."""

    drawing = MomentPlot
    title = "Mean and variance of genes"
