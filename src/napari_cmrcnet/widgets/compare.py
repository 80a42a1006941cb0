"""The Compare panel: genes like the shown one, and genes that differ between groups of spots, as a table to click."""

from typing import TYPE_CHECKING

import pandas as pd
from qtpy.QtCore import QModelIndex
from qtpy.QtWidgets import QHeaderView

from napari_cmrcnet.common.spreadsheet import write_frame
from napari_cmrcnet.common.text import count_text
from napari_cmrcnet.evaluation.differences import NOT_INDEPENDENT, PREDICTED_ALIKE
from napari_cmrcnet.evaluation.picture_file import file_name
from napari_cmrcnet.viewer.compare import OTHERS, between_job, kinds_of, similar_job, spot_groups
from napari_cmrcnet.widgets.dialogs import ask_where_to_save
from napari_cmrcnet.widgets.dock_panel import DockPanel
from napari_cmrcnet.widgets.frame_table import FrameModel
from napari_cmrcnet.widgets.jobs import JobBar
from napari_cmrcnet.widgets.messages import told
from napari_cmrcnet.widgets.parts import button, choice, fill_choice, form_of, label, stack, table_of
from napari_cmrcnet.widgets.warning_line import WarningLine

if TYPE_CHECKING:
    import napari

SIMILAR, BETWEEN = "Genes like the shown one", "Genes that differ between groups"
_TITLES = {
    "gene": ("Gene", "Click a row to show its gene.", ""),
    "correlation": (
        "r",
        "Pearson correlation of the gene's pattern with that of the shown one, over all spots.",
        ".2f",
    ),
    "mean_first": ("First", "Mean over the spots of the first group.", ".2f"),
    "mean_second": ("Second", "Mean over the spots of the second group.", ".2f"),
    "log2_fold_change": (
        "log2 FC",
        "Log2 fold change of the means, in counts: above 0 where the first group is higher.",
        ".2f",
    ),
    "z": ("z", "Of Wilcoxon's rank-sum test: above 0 where the first group is higher.", ".2f"),
    "p_adjusted": (
        "p adj.",
        "p-value, adjusted by Benjamini and Hochberg. It is far too small: see below the table.",
        ".1e",
    ),
}


class ComparePanel(DockPanel):
    """Computes one of two tables of genes when asked for; a click on a row shows its gene."""

    def __init__(self, napari_viewer: "napari.viewer.Viewer") -> None:
        super().__init__(napari_viewer)
        self.jobs = JobBar(self)
        self.model = FrameModel(_TITLES, self)
        self._about = ""  # what the table is of
        self._build()
        self.what.activated.connect(lambda _: self.refresh())
        self.view.clicked.connect(self._on_row)
        session = self.session
        self.follow(self.refresh, session.shown_changed, session.regions_changed, session.selection_changed)
        self.follow(self._on_case, session.case_changed)
        self.refresh()

    def _build(self) -> None:
        self.what = choice("The table to compute.", [SIMILAR, BETWEEN])
        self.kind = choice("The values that are compared.")
        self.first = choice("Regions, classes from the spots file, or the selected spots.")
        self.second = choice("What the first group is compared with.")
        tip = "Compares all genes. On a large section this takes up to a minute."
        self.compute = button("Compute", tip, self._on_compute)
        self.save = button("Save table…", "Writes the table as CSV.", self._on_save)
        self.view = table_of(self.model)
        self.view.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        self.about, self.warning, self.warnings = label(), label(), WarningLine()
        groups = ("First group", self.first), ("Second group", self.second)
        self.form = form_of(self.what, ("Values", self.kind), *groups)
        below = (self.view, self.save, self.warning, self.warnings, self.jobs)
        stack(self, self.form, self.compute, self.about, *below, margins=True)

    def show_now(self) -> None:
        """Offer what can be compared now; a table that was computed stays."""
        self.warnings.show_warnings(self.layers.warnings)
        between = self.what.currentText() == BETWEEN
        kinds, groups = kinds_of(self.session), list(spot_groups(self.session)) if between else []
        fill_choice(self.kind, [(kind, kind) for kind in kinds], self.kind.currentData())
        fill_choice(self.first, [(name, name) for name in groups], self.first.currentData())
        fill_choice(self.second, [(name, name) for name in (OTHERS, *groups)], self.second.currentData())
        for box in (self.first, self.second):
            self.form.setRowVisible(box, between)
        self.save.setEnabled(self.model.rowCount() > 0)
        self.compute.setEnabled(bool(kinds) and (bool(groups) or not between) and not self.jobs.busy)
        none = "There are no groups yet. Draw regions, select spots, or use spots with classes."
        self.about.setText(none if between and not groups else self._about)

    def _on_case(self) -> None:
        self.model.show(pd.DataFrame())
        self._about = ""
        self.warning.setText("")
        self.refresh()

    def _on_compute(self) -> None:
        shown, kind, case = self.session.shown, self.kind.currentData(), self.session.case
        if shown is None or kind is None:
            return
        if self.what.currentText() == SIMILAR:
            job, said = similar_job(self.session, kind), f"Like {shown.name}, {kind}"
            warning = PREDICTED_ALIKE if kind == "predicted" else ""
        else:
            first, second = self.first.currentData(), self.second.currentData()
            job = between_job(self.session, kind, first, second)
            said, warning = f"{first} against {second}, {kind}", NOT_INDEPENDENT

        def done(table: pd.DataFrame) -> None:
            if self.session.case is case:  # else it is of another section
                self.model.show(table.reset_index())
                which = " whose prediction varies" if kind == "predicted" else ""
                self._about = f"{said}: {count_text(len(table), 'gene')}{which}."
                self.warning.setText(warning)

        self.compute.setEnabled(False)
        self.jobs.start(job, done, "Comparing genes", ended=self.refresh)

    def _on_save(self) -> None:
        table, name = self.model.table, file_name(self._about.rpartition(":")[0])
        path = ask_where_to_save(self, "Save table", f"{name}.csv", "Table (*.csv)")
        self.jobs.write(path, lambda path: write_frame(path, table))

    def _on_row(self, index: QModelIndex) -> None:
        with told(self.jobs.warn):
            self.session.show(str(self.model.table["gene"].iloc[index.row()]))
