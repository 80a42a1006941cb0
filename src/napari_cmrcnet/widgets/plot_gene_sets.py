"""The plots of a set of genes: how they go together, and small maps of them, of which a click shows one large."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import Job
from napari_cmrcnet.evaluation.figures import Ground, ground_on
from napari_cmrcnet.evaluation.gene_correlation import GeneCorrelation, correlate_job
from napari_cmrcnet.evaluation.maps_figure import gene_maps, heading
from napari_cmrcnet.evaluation.plots_correlation import CorrelationPlot
from napari_cmrcnet.evaluation.plots_panel import PanelPlot
from napari_cmrcnet.viewer.session import Session
from napari_cmrcnet.widgets.jobs import JobBar
from napari_cmrcnet.widgets.messages import in_panel_words
from napari_cmrcnet.widgets.plot_views import NO_PREDICTION, GeneSet, GeneSetChoice, PlotView, no_scores

if TYPE_CHECKING:
    from napari_cmrcnet.evaluation.shown import Shown
    from napari_cmrcnet.retrieval.prediction import Prediction


class CorrelationView(PlotView):
    """Heatmaps of how the genes of a set go together.

    Parameters
    ----------
    session : Session
        What is looked at.
    jobs : JobBar
        Where correlations are computed.
    changed : callable
        Called when the plot is to be drawn again.
    """

    choice: GeneSetChoice
    drawing = CorrelationPlot
    title = "Gene-gene correlation"
    hint = "Click a cell to show the gene of its row. Both heatmaps have the genes in the same order."

    def __init__(self, session: Session, jobs: JobBar, changed: Callable[[], None]) -> None:
        super().__init__(session)
        self.jobs, self._changed = jobs, changed
        self._results: dict[GeneSet, GeneCorrelation | str] = {}
        self._of: object = None
        self.choice = GeneSetChoice(session, "The genes to correlate with each other.")
        self.choice.activated.connect(self._on_chosen)

    def prepare(self) -> str:
        """Compute the correlations if they are not there; return why the plot cannot be drawn, ``""`` where it can."""
        if reason := super().prepare():
            return reason
        key = self.choice.genes()
        if key is None:
            return no_scores(self.session)
        if self._of is not self.session.prediction:
            self._results, self._of = {}, self.session.prediction
        if key not in self._results:
            self._compute(key)
        result = self._results.get(key, f"Correlating the genes of {key[0]}…")
        return result if isinstance(result, str) else ""

    def draw(self, plot: Any) -> None:
        """Bring a plot up to date with the session; heatmaps are drawn again only for other genes."""
        key = self.choice.genes()
        assert key is not None
        self.bring(plot, self._results[key], self._results[key], key[0])

    def _compute(self, key: GeneSet) -> None:
        if self.jobs.busy:
            return  # its end draws again, and so comes here again
        name, results = key[0], self._results
        waiting = results[key] = f"Correlating the genes of {name}…"
        assert self.session.prediction is not None

        def ended() -> None:
            if results[key] is waiting:
                results[key] = f"The correlations of {name} were not computed; choose the genes again to compute them."
            self._changed()

        job = _correlated(self.session.prediction, key)
        self.jobs.start(job, lambda result: results.__setitem__(key, result), f"Correlating {name}", ended=ended)

    def _on_chosen(self) -> None:
        key = self.choice.genes()
        if key is not None and isinstance(self._results.get(key), str) and not self.jobs.busy:
            del self._results[key]  # what failed or was cancelled is tried again
        self.jobs.message("")
        self._changed()


def _correlated(prediction: "Prediction", key: GeneSet) -> Job[GeneCorrelation | str]:
    """Correlate genes; where that cannot be, return why: it stands in place of the plot."""
    try:
        return (yield from correlate_job(prediction, key[1], key[0]))
    except UserError as error:
        return in_panel_words(error)


class PanelMapsView(PlotView):
    """Maps of the genes of a set, measured over predicted.

    Parameters
    ----------
    session : Session
        What is looked at.
    changed : callable
        Called when the plot is to be drawn again.
    """

    choice: GeneSetChoice
    drawing = PanelPlot
    title = "Maps of a panel"
    hint = "Click a map to show its gene."

    def __init__(self, session: Session, changed: Callable[[], None]) -> None:
        super().__init__(session)
        self.choice = GeneSetChoice(session, "The genes to show maps of.")
        self.choice.activated.connect(lambda _: changed())
        self._of: tuple[object, object, GeneSet, str] | None = None
        self._genes: tuple[Shown, ...] = ()
        self._ground: Ground | None = None

    def prepare(self) -> str:
        """Compute the values if they are not there; return why the plot cannot be drawn, ``""`` where it can."""
        case, slide = self.session.case, self.session.slide
        if case is None:
            return NO_PREDICTION
        chosen = self.choice.genes()
        if chosen is None:
            return no_scores(self.session)
        of = (case, slide, chosen, self.session.display.colormap)
        if self._of != of:
            try:
                if self._ground is None or self._of is None or self._of[:2] != of[:2]:
                    self._ground = ground_on(case, slide)
                self._genes, self._of = gene_maps(case, chosen[1]), of
            except UserError as error:
                self._of = None
                return in_panel_words(error)
        return "" if self._genes else f"This section has none of the genes of {chosen[0]}; choose other genes above."

    def draw(self, plot: Any) -> None:
        """Bring a plot up to date with the session; maps are drawn again only for other genes."""
        assert self._of is not None
        name, genes = self._of[2]
        said = heading(name, len(self._genes), len(genes))
        self.bring(plot, self._of, self._genes, self._ground, said, self._of[3])
