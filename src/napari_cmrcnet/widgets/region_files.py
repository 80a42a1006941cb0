"""Buttons that import and save regions, and copy and save their table."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QApplication, QCheckBox, QWidget

from napari_cmrcnet.common.files import write_content
from napari_cmrcnet.common.text import count_text
from napari_cmrcnet.evaluation.region_scores import table_text
from napari_cmrcnet.sections.geojson import reading_geojson, write_geojson
from napari_cmrcnet.sections.region_origin import from_qupath, qupath_corner, said_of, to_qupath
from napari_cmrcnet.viewer.slide_layer import scanned_part
from napari_cmrcnet.widgets.dialogs import ask_where_to_save, choose_path
from napari_cmrcnet.widgets.parts import button, in_row

if TYPE_CHECKING:
    import pandas as pd

    from napari_cmrcnet.sections.regions import Region
    from napari_cmrcnet.viewer.layers import SectionLayers
    from napari_cmrcnet.widgets.jobs import JobBar

GEOJSON = "QuPath GeoJSON (*.geojson *.json *.geojson.gz *.json.gz)"


class RegionFiles:
    """Regions and their table, from files and to them. Not a widget: it has buttons and a box for the panel to place.

    Parameters
    ----------
    panel : QWidget
        In front of which the dialogs open.
    layers : SectionLayers
        With the session whose regions they are.
    jobs : JobBar
        Where to say what was done.
    scores : callable
        Gives the rows of the table that is shown.
    """

    def __init__(
        self, panel: QWidget, layers: "SectionLayers", jobs: "JobBar", scores: "Callable[[], pd.DataFrame]"
    ) -> None:
        self._panel, self._layers, self._jobs, self._scores = panel, layers, jobs, scores
        self._session = layers.session
        tip = "Copies the table for a spreadsheet; Ctrl+C in the table does the same."
        self.copy = button("Copy table", tip, self.copy_table)
        self.load = button("Import GeoJSON…", "Adds annotations that QuPath exported as GeoJSON.", self._on_import)
        self.save = button("Save GeoJSON…", "Saves all regions as annotations for QuPath.", self._on_save)
        self.save_table = button("Save table…", "Saves the table as CSV.", self._on_save_table)
        self.whole = QCheckBox("QuPath shows the whole slide")
        self.whole.setToolTip(
            "Only part of this slide was scanned. QuPath usually shows that part alone and counts positions from "
            "its corner. Tick this if the slide was added to the QuPath project with --no-crop."
        )
        self.whole.setChecked(self._session.qupath_whole)
        self.whole.toggled.connect(lambda on: setattr(self._session, "qupath_whole", on))
        self.table_row = in_row(self.copy, self.save_table)

    def enable(self, regions: bool, table: bool) -> None:
        """Offer what can be saved, and the choice of where positions are counted from where there is one."""
        self.whole.setVisible(scanned_part(self._layers.viewer, self._session) is not None)
        self.save.setEnabled(regions)
        self.copy.setEnabled(table)
        self.save_table.setEnabled(table)

    def import_geojson(self, path: str | Path) -> None:
        """Add the regions of a file to those that there are, once it is read, unless another section is shown then."""
        notes: list[str] = []
        session, asked_for = self._session, self._session.case

        def add(added: "tuple[Region, ...]") -> None:
            if session.case is not asked_for:
                self._jobs.message(f"{Path(path).name} was not added: another section has been opened meanwhile.")
                return
            placed, note = from_qupath(added, scanned_part(self._layers.viewer, session), session.qupath_whole)
            session.set_regions((*session.regions, *placed))
            many = count_text(len(added), "region")
            self._jobs.message(" ".join(filter(None, [f"Added {many} from {Path(path).name}.", *notes, note])))

        self._jobs.start(reading_geojson(path, notes), add, "Importing regions")

    def copy_table(self) -> None:
        """Put the table into the clipboard, with tabs between the cells."""
        if len(self._scores()):
            QApplication.clipboard().setText(table_text(self._scores(), *self._what(), delimiter="\t"))
            self._jobs.message("The table was copied. Paste it into a spreadsheet.")

    def _on_import(self) -> None:
        path = choose_path(self._panel, "Import regions", GEOJSON)
        if path is not None:
            self.import_geojson(path)

    def _on_save(self) -> None:
        session = self._session
        where = scanned_part(self._layers.viewer, session), session.qupath_whole
        regions, note = to_qupath(session.regions, *where), said_of(qupath_corner(*where))
        self._write("Save regions", ".geojson", GEOJSON, lambda path: write_geojson(path, regions), note)

    def _on_save_table(self) -> None:
        text = table_text(self._scores(), *self._what())
        self._write("Save table", ".csv", "CSV (*.csv)", lambda path: write_content(path, text))

    def _write(self, title: str, suffix: str, kinds: str, write: Callable[[Path], object], note: str = "") -> None:
        name = f"{self._what()[0] or 'regions'}{suffix}"
        self._jobs.write(ask_where_to_save(self._panel, title, name, kinds), write, note)

    def _what(self) -> tuple[str, str]:
        case, shown = self._session.case, self._session.shown
        return case.name if case is not None else "", shown.name if shown is not None else ""
