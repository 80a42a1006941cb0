"""The Regions panel: outlines drawn or imported, and how predicted follows measured in each of them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QItemSelection, QItemSelectionModel
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import QGridLayout

from napari_cmrcnet.common.text import count_text
from napari_cmrcnet.evaluation.region_scores import FEW, Group, groups, region_table
from napari_cmrcnet.sections.regions import Region
from napari_cmrcnet.widgets.choosers import AMBER
from napari_cmrcnet.widgets.dock_panel import DockPanel
from napari_cmrcnet.widgets.jobs import JobBar
from napari_cmrcnet.widgets.parts import button, label, scrolled_parts, shortcut, stack, timer
from napari_cmrcnet.widgets.region_files import RegionFiles
from napari_cmrcnet.widgets.region_form import RegionForm
from napari_cmrcnet.widgets.region_table import Key, RegionModel, region_view, show_predicted

if TYPE_CHECKING:
    import napari

    from napari_cmrcnet.sections.classes import Classes

AFTER_MS = 100  # from the last edit of a shape to new numbers
EMPTY = (
    "There are no regions yet.\n\nPress Draw region and click around an area of the tissue, or import annotations from "
    "QuPath. Each region and class then gets a row: its spots, the means of the gene that is shown, and how well "
    "predicted follows measured there."
)


class RegionsPanel(DockPanel):
    """Draws, imports, names and saves regions, and compares predicted with measured in them.

    Selecting a row selects its regions on the canvas, and its spots in all views and plots.
    """

    def __init__(self, napari_viewer: "napari.viewer.Viewer") -> None:
        super().__init__(napari_viewer)
        self.region_layer = self.layers.regions
        self.jobs = JobBar(self)
        self.files = RegionFiles(self, self.layers, self.jobs, lambda: self.model.scores)
        self.form = RegionForm()
        self.model = RegionModel(self)
        self._groups: tuple[Group, ...] = ()
        self._of: Classes | None = None  # the classes of the spots among the groups
        self._chosen: tuple[int, ...] = ()  # regions that class and name are of
        self._spots = np.empty(0, np.int64)  # selected by a row
        self._showing = False  # rows that the user has not selected
        self._timer = timer(self, AFTER_MS, self._take_from_layer)
        self._build()
        self._connect()
        self.layers.read_regions()
        self._on_regions()

    def _build(self) -> None:
        tip = "Starts a polygon: click its corners, and double-click to close it. Ctrl+Z takes the last change back."
        self.draw = button("Draw region", tip, self._on_draw)
        self.draw.setCheckable(True)
        self.remove = button("Remove", "Removes the selected regions. Ctrl+Z brings them back.", self._on_remove)
        buttons = QGridLayout()
        for place, each in enumerate((self.draw, self.remove, self.files.load, self.files.save)):
            buttons.addWidget(each, *divmod(place, 2))
        self.title, self.warning, self.empty = label(), label(), label(centred=True)
        self.warning.setStyleSheet(f"color: {AMBER}")
        self.table = region_view(self.model)
        above = (buttons, self.files.whole, self.form, self.jobs, self.title)
        below = ((self.empty, 1), (self.table, 1), self.warning, self.files.table_row)
        stack(self, scrolled_parts(*above, *below))

    def _connect(self) -> None:
        self.form.renamed.connect(lambda name: self._change(lambda region: replace(region, name=name)))
        self.form.classified.connect(self._on_class)
        self.table.selectionModel().selectionChanged.connect(self._on_rows)
        for keys, forth in ((QKeySequence.StandardKey.Undo, False), (QKeySequence.StandardKey.Redo, True)):
            shortcut(keys, self, partial(self.layers.undo_regions, forth))
        shortcut(QKeySequence.StandardKey.Copy, self.table, self.files.copy_table, alone=True)
        self.follow(self._on_edited, self.region_layer.edited)
        self.follow(self._on_selected, self.region_layer.selected)
        self.follow(self._on_tool, self.region_layer.tool_changed)
        self.follow(self._on_regions, self.session.regions_changed)
        self.follow(self._on_case, self.session.case_changed)
        self.follow(self._refresh, self.session.shown_changed)
        self.follow(self._on_display, self.session.display_changed)

    def _on_edited(self) -> None:
        self._timer.start()

    def _take_from_layer(self) -> None:
        self.layers.read_regions()
        self._show_chosen(self.region_layer.selection)

    def _on_selected(self) -> None:
        if not self._timer.isActive():
            self._show_chosen(self.region_layer.selection)

    def _on_tool(self) -> None:
        self.draw.setChecked(self.region_layer.drawing)

    def _on_regions(self) -> None:
        self.form.suggest(region.classification for region in self.session.regions)
        self._count()

    def _on_case(self) -> None:
        self._chosen = ()
        self._on_regions()

    def _on_display(self) -> None:
        if self._of is not self.session.classes:
            self._count()

    def _count(self) -> None:
        case, regions, classes = self.session.case, self.session.regions, self.session.classes
        self._of = classes
        here = case is not None and (regions or classes is not None)
        self._groups = groups(case.xy, regions, classes) if case is not None and here else ()
        self._refresh()

    def _refresh(self) -> None:
        shown, regions = self.session.shown, self.session.regions
        here = bool(self._groups) and shown is not None
        keys = {self.model.key(row) for row in self._rows()}
        self.model.show_scores(region_table(self._groups, shown), regions, self.session.classes)
        self._select_rows(keys)
        show_predicted(self.table, shown is not None and shown.predicted is not None)
        self._show_texts()
        for widget in (self.title, self.table):
            widget.setVisible(here)
        self.empty.setVisible(not here)
        self.files.enable(regions=bool(regions), table=here)
        self._chosen = tuple(index for index in self._chosen if index < len(regions))
        self._show_form()
        if self._spots.size and np.array_equal(self.session.selected, self._spots):
            self._select_spots()

    def _show_texts(self) -> None:
        shown, n = self.session.shown, len(self.session.regions)
        where = [count_text(n, "region")] if n or self._of is None else []
        where += [f"the classes of {self._of.column}"] if self._of is not None else []
        self.title.setText("" if shown is None else f"{shown.name} in {' and '.join(where)}, {shown.unit}")
        then = "Open a section, or predict one, to see its expression there."
        self.empty.setText(f"{count_text(n, 'region')} drawn. {then}" if n else EMPTY)
        scores = self.model.scores
        few = [str(name) for name in scores["region"][scores["few"] & scores["kind"].isin(["region", "class"])]]
        more = f" and {len(few) - 4} more" if len(few) > 4 else ""
        self.warning.setText(f"▲ {', '.join(few[:4])}{more}: fewer than {FEW} spots: the PCC is uncertain.")
        self.warning.setVisible(bool(few))

    def _rows(self) -> list[int]:
        return [index.row() for index in self.table.selectionModel().selectedRows()]

    def _on_rows(self) -> None:
        """Select the regions and spots of the rows that the user has selected."""
        if self._showing:
            return
        chosen = [self.model.rows[row] for row in self._rows()]
        rows = self.model.scores.iloc[chosen]
        classes = set(rows["region"][rows["kind"] == "class"])
        self._chosen = tuple(
            index
            for index, region in enumerate(self.session.regions)
            if index in chosen or region.classification in classes
        )
        self.region_layer.select(self._chosen)
        self._show_form()
        self._select_spots()

    def _select_spots(self) -> None:
        spots = [self._groups[self.model.rows[row]].spots for row in self._rows()]
        self._spots = np.flatnonzero(np.any(spots, axis=0)) if spots else np.empty(0, np.int64)
        self.session.select(self._spots)

    def _show_chosen(self, indices: Sequence[int]) -> None:
        """Show which regions are selected on the canvas; spots stay selected as they were."""
        chosen = tuple(index for index in indices if index < len(self.session.regions))
        if chosen != self._chosen:
            self._chosen = chosen
            self._select_rows({("region", index) for index in chosen})
        self._show_form()

    def _select_rows(self, keys: set[Key]) -> None:
        """Change the table's selection without selecting regions and spots by it."""
        selection = QItemSelection()
        for row in range(self.model.rowCount()):
            if self.model.key(row) in keys:
                cell = self.model.index(row, 0)
                selection.select(cell, cell)
        flags = QItemSelectionModel.SelectionFlag
        self._showing = True
        self.table.selectionModel().select(selection, flags.ClearAndSelect | flags.Rows)
        self._showing = False

    def _show_form(self) -> None:
        self.remove.setEnabled(bool(self._chosen))
        self.form.show_regions(self._chosen, [self.session.regions[index] for index in self._chosen])

    def _on_draw(self, on: bool) -> None:
        if on:
            self._show_chosen(())
            self.layers.start_drawing(self.form.classification)
        else:
            self.region_layer.stop_drawing()
        self._on_tool()

    def _on_remove(self) -> None:
        gone = set(self._chosen)
        self._show_chosen(())
        self.session.set_regions(region for index, region in enumerate(self.session.regions) if index not in gone)

    def _on_class(self, classification: str) -> None:
        colour = {region.classification: region.colour for region in self.session.regions}.get(classification)
        self._change(lambda region: replace(region, classification=classification, colour=colour))
        if self.region_layer.drawing:
            self.region_layer.set_next(classification)

    def _change(self, change: Callable[[Region], Region]) -> None:
        before = self.session.regions
        after = tuple(change(region) if index in self._chosen else region for index, region in enumerate(before))
        if after != before:
            self.session.set_regions(after)
