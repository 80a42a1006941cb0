"""The Genes panel: every gene with its scores, found by name, walked through with the arrow keys."""

from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QModelIndex, QObject, Qt
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import QLineEdit

from napari_cmrcnet.common.text import count_text
from napari_cmrcnet.retrieval.trust import NOTHING
from napari_cmrcnet.sections.panels import Panel
from napari_cmrcnet.viewer.gene_list import OF_BOTH, PANEL, Bools, Column, GeneList
from napari_cmrcnet.widgets.dock_panel import DockPanel
from napari_cmrcnet.widgets.gene_model import GeneModel
from napari_cmrcnet.widgets.gene_panels import PanelRow
from napari_cmrcnet.widgets.gene_table import GeneTable
from napari_cmrcnet.widgets.messages import HOW_TO_BEGIN, told
from napari_cmrcnet.widgets.open_files import start_scoring
from napari_cmrcnet.widgets.parts import button, choice, fill_choice, label, shortcut, stack, timer

if TYPE_CHECKING:
    import napari

AFTER_MS = 60  # from the last letter typed to the list of what it finds
EMPTY = f"There are no genes yet. {HOW_TO_BEGIN}"


class GenesPanel(DockPanel):
    """Lists the genes of the session's case; the current row is what the views show."""

    def __init__(self, napari_viewer: "napari.viewer.Viewer") -> None:
        super().__init__(napari_viewer)
        self.model = GeneModel(self)
        self._wanted = ""
        self._allowed: dict[str, Bools | None] = {}  # by what the filter calls them, see `GeneList.filters`
        self._show_soon = timer(self, 0, self._show_wanted)
        self._search_soon = timer(self, AFTER_MS, self._list_again)
        self._build()
        self._connect()
        self._on_case()

    def _build(self) -> None:
        self.search = QLineEdit()
        self.search.setPlaceholderText("Find a gene: ERBB2, HER2, KRT, ENSG…")
        self.search.setToolTip(
            "Finds genes by symbol, part of a symbol, protein or clinical name (HER2, Ki67, PD-L1, CD20) or "
            "Ensembl id. Enter shows the first one. The down arrow goes to the list, / or Ctrl+F comes back here."
        )
        self.search.setClearButtonEnabled(True)
        self.filter = choice("The genes in the list.", long=True)
        self.table = GeneTable(self.model)
        self.empty = label(EMPTY, centred=True)
        self.status, self.trust, self.note, self.message = label(), label(), label(), label()
        tip = "Computes the PCC of every gene and its interval."
        self.compute = button("Compute scores", tip, lambda: start_scoring(self.viewer))
        self.panels = PanelRow(self.session)
        below = (self.status, self.trust, self.note, self.compute, self.panels, self.message)
        stack(self, self.search, self.filter, (self.table, 1), (self.empty, 1), *below).setContentsMargins(4, 6, 4, 6)

    def _connect(self) -> None:
        self.search.textChanged.connect(self._search_soon.start)
        self.search.returnPressed.connect(self._show_first)
        self.search.installEventFilter(self)
        self.filter.currentIndexChanged.connect(self._on_filter)
        self.table.typed.connect(self._on_typed)
        self.table.selectionModel().currentRowChanged.connect(self._on_row)
        self.model.sort_changed.connect(self._list_again)
        self.model.ticks_changed.connect(self._on_ticks)
        self.panels.chosen.connect(self._on_panel)
        self.panels.said.connect(self._say)
        for keys in ("/", QKeySequence.StandardKey.Find):
            shortcut(keys, self, self._focus_search)
        self.follow(self._on_case, self.session.case_changed)
        self.follow(self._on_scores, self.session.scores_changed)
        self.follow(self._say_status, self.session.scoring_changed)
        self.follow(self._follow, self.session.shown_changed)
        self.follow(self._on_panels, self.session.panels_changed)
        self.follow(self.panels.show_display, self.session.display_changed)

    def _on_case(self) -> None:
        case = self.session.case
        genes = None if case is None else GeneList(case, self.session.scores)
        if genes is not None:
            genes.ticked = genes.members(Panel("ticked", self.session.ticked))
        self.model.set_genes(genes)
        self.table.show_sort()
        self.table.hide_columns()
        self.empty.setVisible(genes is None)
        for widget in (self.search, self.filter, self.table, self.status, self.panels):
            widget.setVisible(genes is not None)
        self._say("")
        self.panels.set_genes(genes)
        self._fill_filter()
        self._arrange()

    def _on_scores(self) -> None:
        genes = self.model.genes
        if genes is None or self.session.scores is None:
            return
        genes.set_scores(self.session.scores)
        self._fill_filter()
        if genes.sort[0] in (*OF_BOTH, Column.SETS) or self.filter.currentText().startswith(("HEG", "HVG")):
            self._arrange()
        else:
            self.model.refresh()
            self._say_status()

    def _on_panels(self) -> None:
        self.panels.refresh()
        self._fill_filter()
        self._arrange()

    def _on_ticks(self) -> None:
        assert self.model.genes is not None
        self.session.tick(self.model.genes.ticked_symbols)
        self.panels.show_ticked()

    def _on_panel(self) -> None:
        genes = self.model.genes
        if genes is not None and genes.sort[0] == Column.SETS:
            self._arrange()
        else:
            self.model.refresh()

    def _fill_filter(self) -> None:
        """Offer what can be told apart by now."""
        genes = self.model.genes
        self._allowed = {"All genes": None} if genes is None else genes.filters(self.session.panels)
        if genes is not None and genes.sets["HEG"].any():
            self.filter.setToolTip(f"The genes in the list. HEG and HVG are ranked {genes.among}.")
        fill_choice(self.filter, [(text, text) for text in self._allowed], self.filter.currentText())

    def _on_filter(self) -> None:
        chosen = self.filter.currentText()
        if chosen.startswith(PANEL):
            self.panels.choose(chosen.removeprefix(PANEL))
        self._list_again()

    def _arrange(self) -> None:
        """List what the search, the filter and the sorting ask for; the current row stays with its gene."""
        self._search_soon.stop()
        genes = self.model.genes
        if genes is not None:
            self.model.arrange(self.search.text(), self._allowed[self.filter.currentText()])
            self.session.listed = genes.listed
        self._follow()
        self._say_status()

    def _list_again(self) -> None:
        """List what was asked for, from its first row on: the best match, or the largest number."""
        self._arrange()
        self.table.scrollToTop()

    def _on_row(self, current: QModelIndex) -> None:
        if current.isValid():
            self._wanted = self.model.symbol(current.row())
            if self._is_wanted_shown():
                self._show_soon.stop()
            else:
                self._show_soon.start()  # a held key asks for many in one turn: the last of them is shown

    def _is_wanted_shown(self) -> bool:
        shown = self.session.shown
        return shown is not None and (shown.kind, shown.name) == ("gene", self._wanted)

    def _show_wanted(self) -> None:
        if not self._wanted or self._is_wanted_shown():
            return
        with told(self._say):
            self.session.show(self._wanted)
            self._say("")

    def _follow(self) -> None:
        """Make the gene that is shown the current row, or none if it is not listed."""
        if self._show_soon.isActive():  # a key was pressed: it is not lost because scores come first
            self._show_soon.stop()
            self._show_wanted()
        shown = self.session.shown
        trust = NOTHING if shown is None else shown.trust
        self.trust.setText(f"{shown.name}: {trust.word}. {trust.reasons[0]}" if shown and trust.word else "")
        self.trust.setVisible(bool(trust.word))
        row = self.model.row_of(shown.name) if shown is not None and shown.kind == "gene" else -1
        if row < 0:
            self._wanted = ""
            self.table.selectionModel().clear()
        elif row != self.table.currentIndex().row():
            self.table.setCurrentIndex(self.model.index(row, Column.GENE))

    def _go_to_first(self) -> None:
        if self.model.rowCount():
            self.table.setCurrentIndex(self.model.index(0, Column.GENE))

    def _show_first(self) -> None:
        self._list_again()
        self._go_to_first()

    def _focus_search(self) -> None:
        self.search.setFocus()
        self.search.selectAll()

    def _on_typed(self, text: str) -> None:
        self.search.setFocus()
        self.search.setText(text)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 - Qt's name
        """Go from the search box to the list with the arrow down, and clear the box with Escape."""
        if watched is self.search and event.type() == QEvent.Type.KeyPress:
            match event.key():
                case Qt.Key.Key_Down:
                    self._arrange()
                    self.table.setFocus()
                    if not self.table.currentIndex().isValid():
                        self._go_to_first()
                    return True
                case Qt.Key.Key_Escape if self.search.text():
                    self.search.clear()
                    return True
        return bool(super().eventFilter(watched, event))

    def _say(self, text: str) -> None:
        self.message.setText(text)
        self.message.setVisible(bool(text))

    def _say_status(self) -> None:
        genes, prediction = self.model.genes, self.session.prediction
        if genes is None:
            self.note.hide()
            self.compute.hide()
            return
        self.status.setText(genes.status(self.search.text().strip()))
        self.compute.setVisible(genes.scores_due and not self.session.scoring)
        notes = [genes.of_values, genes.note(self.session.scoring)]
        if prediction is not None and prediction.bank is None:
            why = "" if prediction.provenance.external else "The checkpoint of this prediction was not found. "
            stored = count_text(len(prediction.genes), "gene")
            notes.append(f"{why}Only the {stored} stored in its file can be shown as predicted.")
        self.note.setText(" ".join(filter(None, notes)))
        self.note.setVisible(any(notes))
