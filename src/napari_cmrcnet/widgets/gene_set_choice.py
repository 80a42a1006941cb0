"""The choice of a set of genes for a plot: HEG, HVG, and the panels of the session."""

from qtpy.QtWidgets import QComboBox, QWidget

from napari_cmrcnet.viewer.session import Session

SCORED = ("HEG", "HVG")  # sets that come from the scores

GeneSet = tuple[str, tuple[str, ...]]


class GeneSetChoice(QComboBox):
    """Offers the sets of a session.

    Parameters
    ----------
    session : Session
        What is looked at.
    tip : str
        What the genes are for.
    parent : QWidget, optional
        The panel.
    """

    def __init__(self, session: Session, tip: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session = session
        self.setToolTip(tip)
        self.list_sets()

    def list_sets(self) -> None:
        """Offer HEG, HVG and the panels of the session, the prediction's own first; the choice stays if it can."""
        chosen, case = self.currentText(), self.session.case
        self.clear()
        if case is None:
            return
        own = case.panel.name if case.panel is not None else ""
        panels = sorted(self.session.panels, key=lambda name: (name != own, name.casefold()))
        self.addItems([*([own] if own else []), *SCORED, *(name for name in panels if name != own)])
        self.setCurrentIndex(max(0, self.findText(chosen)))

    def genes(self) -> GeneSet | None:
        """Return name and genes of the chosen set; None where the scores that name them are not there yet."""
        name, scores, case = self.currentText(), self.session.scores, self.session.case
        if name in SCORED and case is not None and case.prediction is None:
            return name, case.measured_sets[name]
        if name in SCORED:
            return None if scores is None else (name, tuple(scores.table.index[scores.table[name]]))
        panel = self.session.panels.get(name)
        return (name, panel.genes) if panel is not None else (name, ())
