"""Maps of a panel's genes in the plots panel: small multiples, of which a click shows one large."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from napari_cmrcnet.viewer.session import Session
from napari_cmrcnet.widgets.gene_set_choice import GeneSet, GeneSetChoice
from napari_cmrcnet.widgets.messages import in_panel_words
from napari_cmrcnet.widgets.plot_views import NO_PREDICTION, PlotView, no_scores

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from napari_cmrcnet.evaluation.figures import Ground
    from napari_cmrcnet.evaluation.plots_panel import GeneMaps


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
    title = "Maps of a panel"
    hint = "Click a map to show its gene."

    def __init__(self, session: Session, changed: Callable[[], None]) -> None:
        super().__init__(session)
        self.choice = GeneSetChoice(session, "The genes to show maps of.")
        self.choice.activated.connect(lambda _: changed())
        self._of: tuple[object, object, GeneSet, str] | None = None
        self._genes: tuple[GeneMaps, ...] = ()
        self._ground: Ground | None = None

    def prepare(self) -> str:
        """Compute the values if they are not there; return why the plot cannot be drawn, ``""`` where it can."""
        from napari_cmrcnet.common.errors import UserError
        from napari_cmrcnet.evaluation.gene_figure import ground_on
        from napari_cmrcnet.evaluation.panel_figure import gene_maps

        case, slide = self.session.case, self.session.slide
        if case is None:
            return NO_PREDICTION
        chosen = self.choice.genes()
        if chosen is None:
            return no_scores(self.session)
        of = (case, slide, chosen, self.session.display.colormap)
        if self._of == of:
            return self._none(chosen)
        try:
            if self._ground is None or self._of is None or self._of[:2] != of[:2]:
                self._ground = ground_on(case, slide)
            self._genes, self._of = gene_maps(case, chosen[1]), of
        except UserError as error:
            self._of = None
            return in_panel_words(error)
        return self._none(chosen)

    def _none(self, chosen: GeneSet) -> str:
        return "" if self._genes else f"This section has none of the genes of {chosen[0]}; choose other genes above."

    def make(self, figure: "Figure") -> Any:
        """Return the plot, in an empty figure."""
        from napari_cmrcnet.evaluation.plots_panel import PanelPlot

        return PanelPlot(figure)

    def draw(self, plot: Any) -> None:
        """Bring a plot up to date with the session; maps are drawn again only for other genes."""
        from napari_cmrcnet.evaluation.panel_figure import heading

        assert self._of is not None
        name, genes = self._of[2]
        if plot.source is not self._of:
            said = heading(name, len(self._genes), len(genes))
            plot.show(self._genes, self._ground, said, self._of[3])
            plot.source = self._of
        plot.mark("" if self.session.shown is None else self.session.shown.name)

    def tip(self, plot: Any, axis: "Axes", at: tuple[float, float]) -> str:  # noqa: ARG002 - a map is one gene
        """Return the gene of a map, and which map it is."""
        found = plot.map_at(axis)
        return "" if found is None else f"{found[0]}, {found[1]}"

    def gene_at(self, plot: Any, axis: "Axes", at: tuple[float, float]) -> str | None:  # noqa: ARG002
        """Return the gene of a map."""
        found = plot.map_at(axis)
        return None if found is None else found[0]
