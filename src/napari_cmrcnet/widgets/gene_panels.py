"""Panels of marker genes: choose one, see its score, make one of ticked genes, read one from a file."""

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QLabel, QWidget

from napari_cmrcnet.common.text import count_text
from napari_cmrcnet.evaluation.blend import INKS
from napari_cmrcnet.sections.panels import Panel, load_panel, save_panel
from napari_cmrcnet.viewer.gene_list import GeneList
from napari_cmrcnet.viewer.session import Session
from napari_cmrcnet.widgets.dialogs import ask_where_to_save, choose_path
from napari_cmrcnet.widgets.messages import told
from napari_cmrcnet.widgets.parts import button, choice, fill_choice, in_row, stack, tipped


class PanelRow(QWidget):
    """Chooses a panel of the session, and adds panels to it.

    Parameters
    ----------
    session : Session
        Whose panels they are.
    """

    chosen = Signal()
    said = Signal(str)

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        self._genes: GeneList | None = None
        self.choice = choice("", long=True)
        tip = "Shows the score of the gene panel at each spot: the mean of its genes' z-scores over the section."
        self.show_score = button("Show score", tip, self._on_score)
        tip = "Saves the ticked genes as a gene panel: a text file with one gene per line."
        self.new = button("", tip, self._on_new)
        tip = "Reads a gene panel from a text file with one gene per line, a table or a .gmt file."
        self.load = button("Load…", tip, self._on_load)
        self.blend = tipped(
            QCheckBox("Ticked genes as colours (2 or 3)"),
            "Shows two ticked genes in green and magenta, three in cyan, magenta and yellow, on one map. A spot is "
            "white where all are low, and dark where all are high.",
        )
        first = in_row(QLabel("Panel"), (self.choice, 1), self.show_score)
        stack(self, first, in_row((self.new, 1), (self.load, 1)), self.blend)
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
        lacks = f"Missing: {', '.join(missing)} ({count_text(len(missing), 'gene', len(panel.genes))})."
        found = lacks if missing else "All its genes are here."
        self.choice.setToolTip(
            " ".join([f"{panel.name}: {', '.join(panel.genes)}.", found, *genes.names.taken_for(panel)])
        )
        self.chosen.emit()

    def _on_score(self) -> None:
        if self.current is None:
            return
        with told(self.said.emit):
            self.session.show_panel(self.current)
            self.said.emit("")

    def _on_new(self) -> None:
        names = ("panel", *(f"panel {number}" for number in range(2, 2 + len(self.session.panels))))
        free = next(name for name in names if name not in self.session.panels)  # a panel is known by its file's name
        path = ask_where_to_save(self, "Save the panel", f"{free}.txt", "Text, one gene per line (*.txt)")
        if path is None or self._genes is None:
            return
        panel = Panel(path.stem, self._genes.ticked_symbols)
        with told(self.said.emit):
            save_panel(panel, path)
            self._add(panel)

    def _on_load(self) -> None:
        kinds = "Lists of genes (*.txt *.csv *.tsv *.gmt);;All files (*)"
        path = choose_path(self, "Load a panel", kinds)
        if path is not None:
            with told(self.said.emit):
                self._add(load_panel(path))

    def _add(self, panel: Panel) -> None:
        self.session.add_panel(panel)
        self.choose(panel.name)
        self.said.emit(f"You can now choose the gene panel {panel.name} ({count_text(len(panel.genes), 'gene')}).")
