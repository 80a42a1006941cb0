"""Panels of marker genes: choose one, see its score, make one of ticked genes, read one from a file."""

from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QFileDialog, QGridLayout, QHBoxLayout, QLabel, QWidget

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.evaluation.blend import INKS
from napari_cmrcnet.sections.panels import Panel, load_panel, save_panel
from napari_cmrcnet.viewer.gene_list import GeneList
from napari_cmrcnet.viewer.session import Session
from napari_cmrcnet.widgets.dialogs import ask_where_to_save
from napari_cmrcnet.widgets.messages import in_panel_words
from napari_cmrcnet.widgets.parts import button, choice
from napari_cmrcnet.widgets.remember import recall, remember

_FOLDER = "panels/folder"  # under which the last folder is remembered


class PanelRow(QWidget):
    """Chooses a panel of the session, and adds panels to it.

    Parameters
    ----------
    session : Session
        Whose panels they are.
    parent : QWidget, optional
        The Genes panel.
    """

    chosen = Signal()
    said = Signal(str)

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session = session
        self._genes: GeneList | None = None
        self.choice = choice("", long=True)
        tip = "Shows the score of the gene panel at each spot: the mean of its genes' z-scores over the section."
        self.show_score = button("Show score", tip, self._on_score)
        tip = "Saves the ticked genes as a gene panel: a text file with one gene per line."
        self.new = button("", tip, self._on_new)
        tip = "Reads a gene panel from a text file with one gene per line, a table or a .gmt file."
        self.load = button("Load…", tip, self._on_load)
        self.blend = QCheckBox("Ticked genes as colours (2 or 3)")
        self.blend.setToolTip(
            "Shows two ticked genes in green and magenta, three in cyan, magenta and yellow, on one map. A spot is "
            "white where all are low, and dark where all are high."
        )
        rows, first = QGridLayout(self), QHBoxLayout()
        rows.setContentsMargins(0, 0, 0, 0)
        first.addWidget(QLabel("Panel"))
        first.addWidget(self.choice, 1)
        first.addWidget(self.show_score)
        rows.addLayout(first, 0, 0, 1, 2)
        rows.addWidget(self.new, 1, 0)
        rows.addWidget(self.load, 1, 1)
        rows.addWidget(self.blend, 2, 0, 1, 2)
        self.blend.toggled.connect(lambda on: self.session.set_display(blend=on))
        self.choice.currentIndexChanged.connect(self._on_choice)

    @property
    def current(self) -> Panel | None:
        """The chosen panel."""
        return self.session.panels.get(self.choice.currentData())

    def set_genes(self, genes: GeneList | None) -> None:
        """Work on the genes of another case, whose own panel is chosen, or on none."""
        self._genes = genes
        case = self.session.case
        own = None if case is None or case.panel is None else case.panel.name
        self.refresh(own)
        self.show_display()

    def refresh(self, chosen: str | None = None) -> None:
        """Offer the session's panels; what was chosen stays, unless another is named."""
        fill_choice(self.choice, [(name, name) for name in self.session.panels], chosen or self.choice.currentData())
        self._on_choice()

    def choose(self, name: str) -> None:
        """Choose a panel by its name."""
        self.choice.setCurrentIndex(self.choice.findData(name))

    def show_ticked(self) -> None:
        """Say how many genes a new panel would have."""
        n = 0 if self._genes is None else len(self._genes.ticked_symbols)
        self.new.setText(f"New panel of {n:,} ticked…" if n else "New panel of ticked…")
        self.new.setEnabled(n > 0)
        self.blend.setEnabled(n in INKS or self.blend.isChecked())

    def show_display(self) -> None:
        """Say whether ticked genes are shown together."""
        self.blend.setChecked(self.session.display.blend)
        self.show_ticked()

    def _on_choice(self) -> None:
        panel, genes = self.current, self._genes
        for widget in (self.choice, self.show_score):
            widget.setEnabled(genes is not None and panel is not None)
        if genes is None or panel is None:
            return
        genes.set_panel(panel)
        missing = [gene for gene in panel.genes if genes.names.column(gene) is None]
        self.show_score.setEnabled(len(missing) < len(panel.genes))
        here = f"{len(panel.genes) - len(missing)} of its {len(panel.genes)} genes are here"
        self.choice.setToolTip(
            f"{panel.name}: {', '.join(panel.genes)}. "
            + (f"{here}; missing: {', '.join(missing)}." if missing else "All its genes are here.")
        )
        self.chosen.emit()

    def _on_score(self) -> None:
        if self.current is None:
            return
        try:
            self.session.show_panel(self.current)
        except UserError as error:
            self.said.emit(in_panel_words(error))
        else:
            self.said.emit("")

    def _on_new(self) -> None:
        path = self._ask_where_to_save()
        if path is None or self._genes is None:
            return
        panel = Panel(path.stem, self._genes.ticked_symbols)
        try:
            save_panel(panel, path)
        except UserError as error:
            self.said.emit(in_panel_words(error))
        else:
            self._add(panel, path)

    def _on_load(self) -> None:
        path = self._ask_what_to_load()
        if path is None:
            return
        try:
            panel = load_panel(path)
        except UserError as error:
            self.said.emit(in_panel_words(error))
        else:
            self._add(panel, path)

    def _add(self, panel: Panel, path: Path) -> None:
        remember({_FOLDER: str(path.parent)})
        self.session.add_panel(panel)
        self.choose(panel.name)
        self.said.emit(f"You can now choose the gene panel {panel.name} ({len(panel.genes):,} genes).")

    def _ask_where_to_save(self) -> Path | None:
        folder = Path(recall(_FOLDER, ""))
        names = ("panel", *(f"panel {number}" for number in range(2, 2 + len(self.session.panels))))
        free = next(name for name in names if name not in self.session.panels)  # a panel is known by its file's name
        return ask_where_to_save(self, "Save the panel", folder / f"{free}.txt", "Text, one gene a line (*.txt)")

    def _ask_what_to_load(self) -> Path | None:
        kinds = "Lists of genes (*.txt *.csv *.tsv *.gmt);;All files (*)"
        path, _ = QFileDialog.getOpenFileName(self, "Load a panel", recall(_FOLDER, ""), kinds)
        return Path(path) if path else None


def fill_choice(box: QComboBox, entries: list[tuple[str, str]], chosen: str | None) -> None:
    """Offer other entries, text and data of each; the chosen one stays, if it is among them."""
    blocked = box.blockSignals(True)
    box.clear()
    for text, data in entries:
        box.addItem(text, data)
    box.setCurrentIndex(max(0, box.findData(chosen)))
    box.blockSignals(blocked)
