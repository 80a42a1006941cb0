"""The plots panel: how well the prediction does, of the shown gene and of all."""

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QWidget

from napari_cmrcnet.evaluation.picture_file import file_name
from napari_cmrcnet.widgets.dialogs import ask_where_to_save
from napari_cmrcnet.widgets.dock_panel import DockPanel
from napari_cmrcnet.widgets.jobs import JobBar
from napari_cmrcnet.widgets.parts import button, choice, in_row, label, scrolled, stack
from napari_cmrcnet.widgets.plot_canvas import PlotCanvas
from napari_cmrcnet.widgets.plot_gene_sets import CorrelationView, PanelMapsView
from napari_cmrcnet.widgets.plot_views import MomentView, PlotView, SetView, SpotView
from napari_cmrcnet.widgets.remember import recall, remember

if TYPE_CHECKING:
    import napari

_KINDS = "PNG picture (*.png);;SVG drawing (*.svg);;PDF document (*.pdf)"


class PlotsPanel(DockPanel):
    """Five plots, of which one is seen and kept up to date."""

    def __init__(self, napari_viewer: "napari.viewer.Viewer") -> None:
        super().__init__(napari_viewer)
        self.jobs = JobBar(self)
        self.correlation = CorrelationView(self.session, self.jobs, self.refresh)
        self.views: list[PlotView] = [
            SpotView(self.session),
            SetView(self.session),
            MomentView(self.session),
            self.correlation,
            PanelMapsView(self.session, self.refresh),
        ]
        self.choices = {view: view.choice for view in self.views if view.choice is not None}
        self.canvases: dict[PlotView, PlotCanvas] = {}
        self._build()
        session = self.session
        self.follow(self._on_sets, session.case_changed, session.panels_changed)
        self.follow(self.refresh, session.scores_changed, session.scoring_changed, session.shown_changed)
        self.follow(self.refresh, session.selection_changed, session.display_changed, self.viewer.events.theme)

    def _build(self) -> None:
        self.which = choice("The plot to show.", [view.title for view in self.views])
        self.which.setCurrentIndex(max(0, self.which.findText(recall("plots/which", self.views[0].title))))
        self.which.currentIndexChanged.connect(self._on_which)
        tip = "Saves the plot on a white background as PNG, SVG or PDF."
        self.save_button = button("Save picture…", tip, self.save_picture)
        self.empty, self.hint = label(centred=True), label()
        inside = QWidget()
        self._page = stack(inside, (self.empty, 1))
        self._page.addStretch()  # below a plot that needs less
        scroll = scrolled(inside)
        scroll.setMinimumHeight(260)
        first = in_row((self.which, 1), self.save_button)
        stack(self, first, *self.choices.values(), (scroll, 1), self.hint, self.jobs, margins=True)

    @property
    def view(self) -> PlotView:
        """The plot that is chosen."""
        index: int = self.which.currentIndex()
        return self.views[index]

    def show_now(self) -> None:
        """Bring the plot that is seen up to date; nothing is done where none is."""
        view = self.view
        reason = view.prepare()
        self.empty.setText(reason)
        self.empty.setVisible(bool(reason))
        self.save_button.setEnabled(not reason)
        self.hint.setText("" if reason else view.hint)
        for one, box in self.choices.items():
            box.setVisible(one is view and self.session.case is not None)
        canvas = None if reason else self._canvas(view)
        for each in self.canvases.values():
            each.setVisible(each is canvas)
        if canvas is not None:
            canvas.draw()

    def _canvas(self, view: PlotView) -> PlotCanvas:
        if view not in self.canvases:
            self.canvases[view] = PlotCanvas(self.viewer, view, self.jobs.warn)
            self._page.insertWidget(1, self.canvases[view], 1)
        return self.canvases[view]

    def save_picture(self) -> None:
        """Ask for a file and save the plot in it, drawn for print."""
        path = ask_where_to_save(self, "Save picture", self._suggested_name(), _KINDS)
        self.jobs.write(path, self.view.save)

    def _suggested_name(self) -> str:
        case, shown = self.session.case, self.session.shown
        section = "" if case is None else case.name
        of = "" if self.view.choice is None else self.view.choice.currentText()
        if isinstance(self.view, SpotView) and shown is not None:
            of = shown.name
        return file_name("_".join(part for part in (section, of, self.view.title.casefold()) if part)) + ".png"

    def _on_which(self) -> None:
        remember({"plots/which": self.view.title})
        self.jobs.message("")
        self.refresh()

    def _on_sets(self) -> None:
        for box in self.choices.values():
            box.list_sets()
        self.refresh()
