"""The Cohort panel: the shown gene or panel over all cases of the list, as a table and box plots."""

from functools import partial
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from qtpy.QtCore import QModelIndex, Qt
from qtpy.QtWidgets import QHeaderView

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.spreadsheet import write_frame
from napari_cmrcnet.common.text import count_text
from napari_cmrcnet.evaluation import cohort
from napari_cmrcnet.evaluation.picture_file import file_name
from napari_cmrcnet.evaluation.plot_style import PANEL_UNIT, UNIT
from napari_cmrcnet.evaluation.plots_cohort import CohortPlot, pcc_groups, value_groups
from napari_cmrcnet.widgets.case_pages import show_row
from napari_cmrcnet.widgets.dialogs import ask_where_to_save
from napari_cmrcnet.widgets.dock_panel import DockPanel
from napari_cmrcnet.widgets.frame_table import FrameModel
from napari_cmrcnet.widgets.jobs import JobBar
from napari_cmrcnet.widgets.parts import button, choice, fill_choice, in_row, label, stack, table_of
from napari_cmrcnet.widgets.plot_canvas import PlotCanvas
from napari_cmrcnet.widgets.plot_views import PlotView

if TYPE_CHECKING:
    import napari

    from napari_cmrcnet.viewer.session import Session

    Read = tuple[tuple[cohort.SectionValues, ...], tuple[str, ...]]

VALUES, CORRELATION = "Box plot of the values", "Box plot of the PCC"
_KINDS = "Table (*.csv);;PNG picture (*.png);;SVG drawing (*.svg);;PDF document (*.pdf)"
_WIDEST, _NARROWEST = 190, 88  # pixels of a column of names
_SEEN = 7  # columns without scrolling: names, and numbers up to the shares above the threshold
_TITLES = {
    "row": ("Section", "Click a row to open its case. A patient's row is the mean over the patient's sections.", ""),
    "class": ("Class", "The class of spots, or of regions.", ""),
    "pcc": ("PCC", "Correlation of predicted and measured over the spots with enough counts.", ".2f"),
    "trust": ("Trust", "How far the prediction of the gene can be trusted on this slide, as its title says.", ""),
    "predicted_mean": ("Pred.\nmean", "Mean predicted value over the spots with enough counts.", "z.2f"),
    "measured_mean": ("Meas.\nmean", "Mean measured value over the spots with enough counts.", "z.2f"),
    "predicted_share_above": (
        "Pred.\nabove",
        "Share of these spots whose predicted value is above the threshold.",
        ".0%",
    ),
    "measured_share_above": (
        "Meas.\nabove",
        "Share of these spots whose measured value is above the threshold.",
        ".0%",
    ),
    "spots": ("Spots", "Number of spots.", ",d"),
    "predicted_sd": ("Pred.\nSD", "Standard deviation of the predicted values over the spots.", ".2f"),
    "measured_sd": ("Meas.\nSD", "Standard deviation of the measured values over the spots.", ".2f"),
    "pcc_sd": ("PCC\nSD", "Standard deviation of the PCC over the patient's sections.", ".2f"),
}


class CohortView(PlotView):
    """The box plots.

    Parameters
    ----------
    session : Session
        Of the window.
    panel : CohortPanel
        What is drawn.
    """

    drawing = CohortPlot

    def __init__(self, session: "Session", panel: "CohortPanel") -> None:
        super().__init__(session)
        self.panel = panel

    @property
    def section(self) -> str:
        """No single section."""
        return ""

    def draw(self, plot: Any) -> None:
        """Bring a plot up to date with the panel."""
        panel, table = self.panel, self.panel.table
        source = panel.of.currentData()
        if panel.what.currentText() == CORRELATION:
            plot.show(panel.name, pcc_groups(table, source), "PCC; one dot per section", dots=True)
        else:
            said = f"{panel.unit},\nmean of each section" if source else panel.unit
            plot.show(panel.name, value_groups(panel.sections, panel.name, source), said, dots=bool(source))
        plot.source = object()


class CohortPanel(DockPanel):
    """Reads all cases of the list when asked to; a click on a row opens its case."""

    def __init__(self, napari_viewer: "napari.viewer.Viewer") -> None:
        super().__init__(napari_viewer)
        self.cases = self.layers.cases
        self.sections: tuple[cohort.SectionValues, ...] = ()
        self.table = pd.DataFrame()  # until it is computed
        self.name = self.unit = ""
        self.jobs = JobBar(self)
        self.model = FrameModel(_TITLES, self)
        self.plots = CohortView(self.session, self)
        self.canvas: PlotCanvas | None = None
        self._build()
        self.follow(self.refresh, self.session.shown_changed, self.session.case_changed, self.cases.changed)
        self.follow(self._show_table, self.viewer.events.theme)

    def _build(self) -> None:
        tip = "Reads all cases of the list, and compares the shown gene or gene panel."
        self.compute = button("Compute", tip, self._on_compute)
        self.save = button("Save…", "Writes the table as CSV, or the box plots as PNG, SVG or PDF.", self._on_save)
        self.of = choice("Which spots: all, or those of each class or region.")
        self.of.activated.connect(lambda _: self._show_table())
        self.what = choice("What the plot shows.", [VALUES, CORRELATION])
        self.what.activated.connect(lambda _: self._show_table())
        for widget in (self.save, self.of, self.what):
            widget.setEnabled(False)
        self.view = table_of(self.model)
        self.view.setWordWrap(True)  # of a name that is wider than what is left beside the numbers
        self.view.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.view.setMinimumHeight(120)
        self.view.clicked.connect(self._on_row)
        self.about = label()
        rows = in_row((self.compute, 1), (self.save, 1)), in_row((self.of, 1), (self.what, 1))
        self._layout = stack(self, *rows, (self.view, 1), self.about, self.jobs, margins=True)

    def show_now(self) -> None:
        """Say what would be compared now; a table that was computed stays."""
        shown, cases = self.session.shown, self.cases.project.cases
        readable = sum(bool(case.prediction or case.spots) for case in cases)
        self.compute.setText("Compute" if shown is None else f"Compute {shown.name}")
        self.compute.setEnabled(shown is not None and readable > 0 and not self.jobs.busy)
        if self.table.empty:
            self.about.setText(
                f"Press Compute to compare {shown.name} over {count_text(readable, 'case')}."
                if shown is not None and readable
                else "Add cases in the Cases panel, open one, and choose a gene or gene panel."
            )

    def _on_compute(self) -> None:
        session, shown = self.session, self.session.shown
        if shown is None:
            return
        self.layers.read_regions()
        self.cases.keep()
        panel = session.panels[shown.name] if shown.kind == "panel" else None
        row = self.cases.row
        known = {row: session.case} if row is not None and session.case is not None else {}
        job = cohort.cohort_job(self.cases.project.cases, shown.name, panel, known)
        done = partial(self._on_read, shown.name, shown.kind == "panel")
        self.jobs.start(job, done, "Reading cases", ended=self.refresh)
        self.refresh()

    def _on_read(self, name: str, is_panel: bool, read: "Read") -> None:
        known, left_out = read
        without = [f"{section.name} has no {name}." for section in known if name not in section.shown]
        self.sections = tuple(section for section in known if name in section.shown)
        if not self.sections:
            raise UserError(" ".join([*left_out, *without]))
        self.table = cohort.table_of(self.sections, [name])
        self.name, self.unit = name, f"{PANEL_UNIT} within a section" if is_panel else UNIT
        sources = dict.fromkeys(source for section in self.sections for source in section.classes)
        fill_choice(
            self.of, [("All spots", ""), *((f"By {source}", source) for source in sources)], self.of.currentData()
        )
        self.about.setText(" ".join([*self._notes(is_panel), *left_out, *without]))
        self._show_table()

    def _notes(self, is_panel: bool) -> list[str]:
        first = self.table.iloc[0]
        limits = [
            f"{kind} {at:.2f}" for kind in ("predicted", "measured") if not isnan(at := first[f"{kind}_threshold"])
        ]
        notes = [f"{self.name}: the thresholds are Otsu's over all sections ({', '.join(limits)})."] if limits else []
        notes.append("Means, shares and PCC are over the spots with enough counts.")
        notes += ["The mean of a panel's score is near 0 in each section: compare the shares."] if is_panel else []
        return notes

    def _show_table(self) -> None:
        if self.table.empty:
            return
        self.of.setEnabled(True)
        self.save.setEnabled(True)
        self.what.setEnabled(bool(self.table["pcc"].notna().any()))
        if not self.what.isEnabled():
            self.what.setCurrentText(VALUES)
        self.model.show(self._rows())
        self._fit_columns()
        if self.canvas is None:
            self.canvas = PlotCanvas(self.viewer, self.plots, self.jobs.warn)
            self._layout.insertWidget(3, self.canvas, 1)
        self.canvas.draw()

    def _fit_columns(self) -> None:
        """Fit columns to their texts: Qt would leave room for the arrow of sorting in each, and for any name."""
        advance = self.view.fontMetrics().horizontalAdvance
        widths = []
        for column in range(self.model.columnCount()):
            title = str(self.model.headerData(column, Qt.Orientation.Horizontal))
            cells = [str(self.model.index(row, column).data()) for row in range(self.model.rowCount())]
            widths.append(min(max(map(advance, [*title.split("\n"), *cells])) + 8, _WIDEST))
        left = self.view.viewport().width() - sum(widths[1:_SEEN])
        for column, width in enumerate(widths):
            self.view.setColumnWidth(column, width if column else min(width, max(left, _NARROWEST)))
        self.view.resizeRowsToContents()

    def _rows(self) -> pd.DataFrame:
        """Return the rows of the classes that are chosen, without columns that nothing is known in."""
        source = self.of.currentData()
        rows = self.table[self.table["source"] == source].copy()
        rows["row"] = [
            _row_name(*cells) for cells in zip(*map(rows.get, ("section", "patient", "sections")), strict=True)
        ]
        known = [name for name in _TITLES if name in rows and (rows[name].notna() & (rows[name] != "")).any()]
        shown = [name for name in known if name != "row" and (source or name != "class")]
        return rows[["row", *shown, "section"]]

    def _on_row(self, index: QModelIndex) -> None:
        section = self.model.table["section"].iloc[index.row()]
        names = [case.name for case in self.cases.project.cases]
        if section in names:
            show_row(self.viewer, names.index(section))

    def _on_save(self) -> None:
        name = f"{file_name(f'{self.name}_by_section')}.csv"
        path = ask_where_to_save(self, "Save table or plot", name, _KINDS)
        self.jobs.write(path, self._write)

    def _write(self, path: Path) -> None:
        if path.suffix.casefold() == ".csv":
            write_frame(path, self.table)
        else:
            self.plots.save(path)


def _row_name(section: str, patient: str, sections: int) -> str:
    if section:
        return f"{section} ({patient})" if patient else section
    return f"Patient {patient}" + (f", {sections} sections" if sections > 1 else "")  # the table is narrow
