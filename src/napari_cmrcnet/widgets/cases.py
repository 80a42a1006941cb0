"""The Cases panel: several sections and patients, paged through, with what was drawn and noted over each."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSize
from qtpy.QtGui import QIcon
from qtpy.QtWidgets import (
    QAbstractItemView,
    QGridLayout,
    QHeaderView,
    QPlainTextEdit,
    QTableWidget,
    QTableWidgetItem,
)
from superqt.utils import signals_blocked

from napari_cmrcnet.common.progress import Progress
from napari_cmrcnet.common.suffixes import PROJECTS
from napari_cmrcnet.evaluation.document import html_or_pdf
from napari_cmrcnet.retrieval.project import Project, ProjectCase, project_of
from napari_cmrcnet.viewer.registry import layers_of
from napari_cmrcnet.widgets import dialogs
from napari_cmrcnet.widgets.case_pages import bind_pages, show_beside, show_row, step_case
from napari_cmrcnet.widgets.choosers import PANEL_WIDTH
from napari_cmrcnet.widgets.dock_panel import DockPanel, open_panel
from napari_cmrcnet.widgets.evidence_pictures import in_square, pixmap_of
from napari_cmrcnet.widgets.jobs import JobBar
from napari_cmrcnet.widgets.keeper import ask_for_project, keep_watch, run_to_replace
from napari_cmrcnet.widgets.messages import told
from napari_cmrcnet.widgets.parts import button, label, scrolled_parts, shortcut, stack
from napari_cmrcnet.widgets.report_pdf import print_pdf

if TYPE_CHECKING:
    import napari

    from napari_cmrcnet.common.progress import Job
    from napari_cmrcnet.evaluation.case_summary import Summary

COLUMNS = ("Case", "Model", "PCC", "Saved")
EMPTY = (
    "There are no cases yet. Press Open… and choose a list of cases, a sheet of sections (CSV), or a folder of "
    "predictions. Or open a section, and press Add this case."
)
SIDE = 48  # of a thumbnail, in pixels of the screen
_KINDS = "Web page (*.html);;PDF document (*.pdf)"


class CasesPanel(DockPanel):
    """Lists the cases of the window; a click on one opens it.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
        The window.
    """

    def __init__(self, napari_viewer: "napari.viewer.Viewer") -> None:
        super().__init__(napari_viewer)
        self.cases = self.layers.cases
        self._pictures: dict[str, QIcon] = {}  # by slide
        self._looked_at: set[tuple[str, str]] = set()
        keep_watch(napari_viewer)
        bind_pages(napari_viewer)
        self._build()
        self.setMinimumWidth(PANEL_WIDTH)
        self.follow(self.show_cases, self.cases.changed, self.session.regions_changed, self.layers.beside.changed)
        self.show_cases()

    def _build(self) -> None:
        self.load = button("Open…", "Opens a list of cases, a sheet of sections, or a folder of predictions.")
        kinds = (f"Cases and sheets (*{PROJECTS[0]} *.csv);;All files (*)", dialogs.FOLDER)
        dialogs.offer_kinds(self.load, kinds, self._on_open)
        self.add = button("Add this case", "Adds the section that is shown to the list.", self.cases.add_shown)
        self.remove = button("Remove", "Removes the selected case from the list. Its files stay.", self._on_remove)
        self.save = button(
            "Save list as…", "Saves the list to a file. From then on, changes are saved automatically.", self._on_save
        )
        before, after = partial(step_case, self.viewer, -1), partial(step_case, self.viewer, 1)
        self.previous = button("Previous", "Opens the previous case (Page Up).", lambda: before())
        self.next = button("Next", "Opens the next case (Page Down).", lambda: after())
        self.report = button(
            "Report of all predictions…",
            "Writes one report (HTML or PDF) with the scores of each section, markers by section and patient, and "
            "maps. It needs at least two saved predictions.",
            self._on_report,
        )
        self.beside = button(
            "", "Shows a second case to the right, on its own slide, with the same gene, scale and colours."
        )
        self.beside.clicked.connect(self._on_beside)
        self.cohort = button(
            "Compare cases…",
            "Opens a table and box plots of the shown gene or gene panel over all cases.",
            lambda: open_panel(self.viewer, "Cohort"),
        )
        buttons = QGridLayout()
        for place, each in enumerate((self.load, self.save, self.add, self.remove, self.previous, self.next)):
            buttons.addWidget(each, *divmod(place, 2))
        buttons.addWidget(self.beside, 3, 0)
        buttons.addWidget(self.cohort, 3, 1)
        buttons.addWidget(self.report, 4, 0, 1, 2)
        shortcut("PgUp", self, before)
        shortcut("PgDown", self, after)
        self.table = QTableWidget(0, len(COLUMNS))
        self.table.setHorizontalHeaderLabels(COLUMNS)
        self.table.horizontalHeaderItem(2).setToolTip(
            "Mean PCC of predicted with measured expression over the markers."
        )
        self.table.verticalHeader().hide()
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setIconSize(QSize(SIDE, SIDE))
        self.table.verticalHeader().setDefaultSectionSize(SIDE + 6)
        self.table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.table.horizontalHeader().setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.table.cellClicked.connect(lambda row, _column: show_row(self.viewer, row))
        shortcut("Return", self.table, lambda: show_row(self.viewer, self.table.currentRow()), alone=True)
        self.empty, self.status = label(EMPTY, centred=True), label()
        self.notes = QPlainTextEdit()
        self.notes.setPlaceholderText("Notes about this case")
        self.notes.setTabChangesFocus(True)
        self.notes.setMaximumHeight(64)
        self.notes.textChanged.connect(lambda: self.cases.set_notes(self.notes.toPlainText()))
        self.jobs = JobBar(self)
        self._row: int | None = None  # which was shown last
        below = ((self.empty, 1), (self.table, 1), self.notes, self.status, self.jobs)
        stack(self, scrolled_parts(buttons, *below))

    def open(self, path: Path) -> None:
        """Open a list of cases, a sheet or a folder, and the first case of it that can be looked at."""
        run_to_replace(self.viewer, project_of(path), partial(_take, self.viewer), f"Opening {path.name}")

    def show_cases(self) -> None:
        """Show the list as it is now."""
        cases, row = self.cases.project.cases, self.cases.row
        self.table.setVisible(bool(cases))
        self.empty.setVisible(not cases)
        with signals_blocked(self.table):
            self.table.setRowCount(len(cases))
            for place, case in enumerate(cases):
                self._show_row(place, case, place == row)
            if row is not None:
                self.table.selectRow(row)
            elif self._row is not None:  # what is shown now is not in the list
                self.table.selectionModel().clear()
        self._row = row
        shown = self.cases.shown
        self.notes.setVisible(shown is not None)
        if shown is not None and shown.notes != self.notes.toPlainText():
            with signals_blocked(self.notes):
                self.notes.setPlainText(shown.notes)
        self.add.setEnabled(self.session.case is not None and row is None)
        for each in (self.remove, self.save, self.cohort):
            each.setEnabled(bool(cases))
        self.beside.setText("Open beside…" if self.layers.beside.case is None else "Close beside")
        self.beside.setEnabled(self.session.case is not None and len(cases) > 1)
        self.report.setEnabled(sum(bool(case.prediction) for case in cases) > 1)
        self.previous.setEnabled(row is not None and row > 0)
        self.next.setEnabled(bool(cases) and (row is None or row + 1 < len(cases)))
        self.status.setText(self._kept_in())
        self._look_at_next()

    def _show_row(self, row: int, case: ProjectCase, is_shown: bool) -> None:
        unsaved = self.cases.unsaved if is_shown else ""
        saved = "no" if unsaved else ("yes" if case.prediction or self.cases.project.path else "")
        name = f"{case.name}\npatient {case.patient}" if case.patient else case.name
        model = case.model or "measured" * case.measured or "none yet"
        pcc = "" if case.pcc is None else f"{case.pcc:.2f}"
        for column, text in enumerate((name, model, pcc, saved)):
            item = QTableWidgetItem(text)
            tips = {0: case.prediction or case.spots or case.slide, 3: f"Not saved: {unsaved}" if unsaved else ""}
            item.setToolTip(tips.get(column, text))
            if column == 0:
                item.setIcon(self._pictures.get(case.slide, QIcon()))
                font = item.font()
                font.setBold(is_shown)
                item.setFont(font)
            self.table.setItem(row, column, item)

    def _kept_in(self) -> str:
        project = self.cases.project
        if not project.cases:
            return ""
        if project.path is None:
            return "This list is not saved yet. Press Save list as… to keep it with regions, ticked genes and notes."
        return f"Changes are saved to {project.path.name} automatically, every few seconds."

    def _look_at_next(self) -> None:
        """Read the next thumbnail and PCC that are not known yet, one case at a time, beside the window."""
        if self.jobs.busy or not self.isVisible():
            return
        for row, case in enumerate(self.cases.project.cases):
            key = (case.slide, case.prediction)
            if key not in self._looked_at:
                self._looked_at.add(key)
                self.jobs.start(_summary(case), partial(self._on_looked, row, case), "", ended=self._look_at_next)
                return

    def _on_looked(self, row: int, case: ProjectCase, summary: "Summary") -> None:
        pixels, pcc = summary
        if pixels is not None:
            icon, pixmap = QIcon(), in_square(pixmap_of(pixels), SIDE)
            for mode in (QIcon.Mode.Normal, QIcon.Mode.Selected):  # else the stain of the selected one is tinted
                icon.addPixmap(pixmap, mode)
            self._pictures[case.slide] = icon
        cases = self.cases.project.cases
        if pcc is not None and row < len(cases) and cases[row].prediction == case.prediction and cases[row].pcc is None:
            self.cases.set_pcc(row, pcc)
        else:
            self.show_cases()

    def _on_open(self, kind: str) -> None:
        path = dialogs.choose_path(self, "Open cases", kind)
        if path is not None:
            self.open(path)

    def _on_beside(self) -> None:
        if self.layers.beside.case is not None:
            self.layers.show_beside(None)
            return
        rows = [row for row, case in enumerate(self.cases.project.cases) if row != self.cases.row]
        lines = {f"{row + 1}. {self.cases.project.cases[row].name}": row for row in rows}
        line = dialogs.choose_one(self, "Open beside", "Which case should be shown on the right?", list(lines))
        if line is not None:
            show_beside(self.viewer, lines[line])

    def _on_remove(self) -> None:
        row = self.table.currentRow()
        if row >= 0:
            self.cases.remove(row)

    def _on_save(self) -> None:
        path = ask_for_project("cases")
        if path is not None:
            with told(self.jobs.warn):
                self.cases.save(path)

    def _on_report(self) -> None:
        paths = [Path(case.prediction) for case in self.cases.project.cases if case.prediction]
        out = dialogs.ask_where_to_save(self, "Report of all predictions", "cases.html", _KINDS)
        if out is not None:
            job = html_or_pdf(partial(_report, paths), out, print_pdf)
            self.jobs.start(job, self.jobs.saved, "Report", lasting=True)

    def show_now(self) -> None:
        """Read thumbnails once the panel is seen."""
        self._look_at_next()


def _take(viewer: Any, project: Project) -> None:
    """Take another list of cases, and open its first case, unless one of it is shown."""
    cases = layers_of(viewer).cases
    cases.open(project)
    if cases.row is None and project.cases:
        show_row(viewer, 0, again=True)


def _summary(case: ProjectCase) -> "Job[Summary]":
    """Look at a case; what reads it is imported when the job runs."""
    from napari_cmrcnet.evaluation.case_summary import summary_job

    return (yield from summary_job(case))


def _report(paths: list[Path], out: Path) -> "Job[Path]":
    """Write the report of saved predictions; what reads them is imported when the job runs."""
    from napari_cmrcnet.evaluation.html_cohort import write_cohort_report
    from napari_cmrcnet.retrieval.prediction import Prediction

    predictions = []
    for done, path in enumerate(paths):
        yield Progress("Reading predictions", done, len(paths), "files")
        predictions.append(Prediction.load(path))
        predictions[-1].provenance.check_output(out)
    return (yield from write_cohort_report(predictions, out))
