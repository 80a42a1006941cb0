"""The Export panel: tables, figures, a report, and the prediction itself, as files."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_cmrcnet.evaluation.picture_file import file_name
from napari_cmrcnet.sections.region_origin import said_of
from napari_cmrcnet.viewer.coloring import PREDICT_FIRST
from napari_cmrcnet.widgets.dialogs import ask_where_to_save
from napari_cmrcnet.widgets.dock_panel import DockPanel
from napari_cmrcnet.widgets.export_formats import (
    ALL,
    FORMATS,
    SETS,
    SHOWN,
    corner_of,
    export_job,
    missing_package,
)
from napari_cmrcnet.widgets.jobs import JobBar
from napari_cmrcnet.widgets.messages import HOW_TO_BEGIN, told
from napari_cmrcnet.widgets.parts import (
    bare,
    button,
    choice,
    fill_choice,
    form_of,
    label,
    number,
    scrolled_parts,
    stack,
)
from napari_cmrcnet.widgets.remember import recall, remember

if TYPE_CHECKING:
    import napari

EMPTY = f"There is nothing to export yet. {HOW_TO_BEGIN}"


class ExportPanel(DockPanel):
    """Exports the session's case."""

    def __init__(self, napari_viewer: "napari.viewer.Viewer") -> None:
        super().__init__(napari_viewer)
        self._build()
        self.choose(recall("export/format", "csv"))
        self.format.currentIndexChanged.connect(self._on_format)
        self.genes.currentIndexChanged.connect(self._describe)
        self.jobs.busy_changed.connect(self._describe)
        session = self.session
        self.follow(self._show_case, session.case_changed, session.panels_changed, session.shown_changed)
        self._show_case()

    def _build(self) -> None:
        self.empty = label(EMPTY, selectable=True)
        self.format = choice("The type of file. The line below says what it is for.", long=True)
        for kind, each in FORMATS.items():
            self.format.addItem(each.name, kind)
        self.genes = choice("The genes to export.", long=True)
        for box in (self.format, self.genes):
            box.setMinimumContentsLength(12)
            box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        tip = "Width of the figure in print. Many journals have columns of 85 to 90 mm and pages of 180 mm."
        self.width_mm = number(tip, 60, 400, suffix=" mm")
        self.width_mm.setValue(180)
        self.purpose = label(selectable=True)
        tip = "Asks for a name and writes the file. If you cancel, no incomplete file is left."
        self.button = button("Export…", tip, self._on_export)
        self.jobs = JobBar(self)
        self.form = QWidget()
        rows = ("File", self.format), ("Genes", self.genes), ("Width", self.width_mm)
        self._form = bare(form_of(*rows, inside=self.form))
        scroll = scrolled_parts(self.empty, self.form, self.purpose, self.button, self.jobs, None)
        scroll.setMinimumWidth(320)  # a scroll area asks for no room of its own, and would cut the lists off
        stack(self, scroll)

    @property
    def kind(self) -> str:
        """The chosen format, of `FORMATS`."""
        return str(self.format.currentData())

    @property
    def choice(self) -> str:
        """The chosen genes: those shown, of the sets, all, or of a panel by its name."""
        return str(self.genes.currentData())

    def choose(self, kind: str, genes: str | None = None) -> None:
        """Choose a format, and genes.

        Parameters
        ----------
        kind : str
            Of `FORMATS`.
        genes : str, optional
            As `choice` returns them; left as they are if not given.
        """
        for box, value in ((self.format, kind), (self.genes, genes)):
            if value is not None and (row := box.findData(value)) >= 0:
                box.setCurrentIndex(row)

    def export_to(self, path: Path) -> None:
        """Write the chosen file in a worker thread."""
        self.layers.read_regions()
        remember({"export/format": self.kind})
        note = said_of(corner_of(self.session)) if self.kind == "geojson" else ""
        with told(self.jobs.warn):
            job = export_job(self.session, self.kind, path, self.choice, self.width_mm.value())
            self.jobs.start(job, lambda path: self.jobs.saved(path, note), f"Writing {path.name}", lasting=True)

    def default_name(self) -> str:
        """Return a name for the file that says what is in it."""
        case, shown = self.session.case, self.session.shown
        if case is None or shown is None:
            return ""
        what = {SHOWN: shown.name, SETS: "top_genes", ALL: "all_genes"}.get(self.choice, self.choice)
        if not FORMATS[self.kind].genes:
            what = {"html": "report", "report": "report", "bundle": "all", "prediction": "predicted"}.get(
                self.kind, shown.name
            )
        return f"{file_name(f'{case.name}_{what}')}{FORMATS[self.kind].ending}"

    def _on_export(self) -> None:
        each = FORMATS[self.kind]
        path = ask_where_to_save(self, f"Export: {each.name}", self.default_name(), each.kinds)
        if path is not None:
            self.export_to(path)

    def _on_format(self) -> None:
        self._form.setRowVisible(self.genes, FORMATS[self.kind].genes)
        self._form.setRowVisible(self.width_mm, self.kind == "maps")
        self._describe()

    def _show_case(self) -> None:
        """List the genes that can be chosen, those chosen before if they are still there."""
        here = self.session.shown is not None  # of a new case nothing is shown at first
        self.empty.setVisible(not here)
        for widget in (self.form, self.purpose, self.button):
            widget.setVisible(here)
        if not here:
            return
        fill_choice(self.genes, self._choices(), self.choice)
        self._on_format()

    def _choices(self) -> list[tuple[str, str]]:
        case, shown = self.session.case, self.session.shown
        assert case is not None
        assert shown is not None
        now = f"Shown gene ({shown.name})" if shown.kind == "gene" else f"Genes of the shown panel ({shown.name})"
        sets = "Markers, most expressed and most variable" if case.spots.X is not None else "Markers, most expressed"
        panels = []
        for name, panel in self.session.panels.items():
            known = sum(self.session.knows(gene) for gene in panel.genes)
            if known:
                panels.append((f"Panel {name} ({known} of {len(panel.genes)})", name))
        return [(now, SHOWN), (sets, SETS), *panels, (f"All genes ({len(case.genes):,})", ALL)]

    def _describe(self, *_: Any) -> None:
        if self.session.shown is None:
            return
        predict_first = FORMATS[self.kind].predicted and self.session.prediction is None
        purpose = PREDICT_FIRST if predict_first else FORMATS[self.kind].purpose
        self.purpose.setText("\n\n".join(filter(None, (purpose, missing_package(self.kind)))))
        self.button.setEnabled(not predict_first and not self.jobs.busy)
