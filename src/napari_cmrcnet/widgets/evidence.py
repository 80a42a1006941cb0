"""The evidence panel: the training spots behind the value of the one spot that is selected."""

from html import escape
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QTabWidget, QWidget

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.text import count_text
from napari_cmrcnet.evaluation.shown import Shown, panel_genes
from napari_cmrcnet.retrieval.evidence import Evidence, evidence, open_thumbnails, patch_of
from napari_cmrcnet.viewer.session import Session
from napari_cmrcnet.widgets.dock_panel import DockPanel
from napari_cmrcnet.widgets.evidence_pictures import PictureModel, PictureView, enlarged, in_square, pixmap_of
from napari_cmrcnet.widgets.frame_table import FrameModel
from napari_cmrcnet.widgets.jobs import JobBar
from napari_cmrcnet.widgets.messages import in_panel_words
from napari_cmrcnet.widgets.open_files import find_checkpoint
from napari_cmrcnet.widgets.parts import button, in_row, label, scrolled, stack, table_of
from napari_cmrcnet.widgets.plot_views import NO_PREDICTION
from napari_cmrcnet.widgets.section_shares import HUES, section_colours, show_shares

if TYPE_CHECKING:
    import napari

    from napari_cmrcnet.retrieval.prediction import Prediction
    from napari_cmrcnet.retrieval.thumbnails import Pixels, Thumbnails


TITLES = {
    "rank": ("#", "Rank by similarity: 1 is the most similar.", "d"),
    "expression": ("Expression", "Measured expression of the training spot, log-normalised.", ".2f"),
    "similarity": ("Similarity", "Cosine similarity of its genes and the patch of the chosen spot; at most 1.", ".3f"),
    "weight": ("Weight", "Weight in the predicted value. All weights add up to 100 %.", ".2%"),
    "section": ("Section", "Section of the training spot.", ""),
    "patient": ("Patient", "Patient of that section.", ""),
    "x": ("x", "Position on its slide, in full-resolution pixels.", ",.0f"),
    "y": ("y", "Position on its slide, in full-resolution pixels.", ",.0f"),
}


OWN_SIDE = 96  # of the picture of the spot itself
CLICK = "Click a spot on the canvas to see the training spots behind its value."
NO_PICTURES = "The checkpoint has no pictures of its training spots. Only the table is shown."
NOT_OPENED = "The pictures of the training spots were not opened. Only the table is shown."


class EvidencePanel(DockPanel):
    """What the value of the selected spot was retrieved from."""

    def __init__(self, napari_viewer: "napari.viewer.Viewer") -> None:
        super().__init__(napari_viewer)
        self._opened: tuple[Prediction, Thumbnails | None, str] | None = None  # and why there are none
        self._build()
        session = self.session
        self.follow(self.refresh, session.case_changed, session.shown_changed, session.selection_changed)

    def _build(self) -> None:
        self.jobs = JobBar(self)
        self.empty = label(centred=True)
        tip = "Asks for the folder of the checkpoint, and opens the prediction again."
        self.find_button = button("Find checkpoint…", tip, lambda: find_checkpoint(self, self.viewer))
        self.content = self._content()
        self.content.hide()
        self.find_button.hide()
        inside = QWidget()
        stack(inside, self.empty, in_row(None, self.find_button, None), (self.content, 1)).addStretch(0)
        stack(self, (scrolled(inside), 1), self.jobs, margins=True)

    def _content(self) -> QWidget:
        self.own, self.header = QLabel(), label(rich=True, selectable=True)
        self.own.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.shares, self.note = label(rich=True), label()
        self.pictures, self.neighbours = PictureModel(self), FrameModel(TITLES, self)
        self.pictures.failed.connect(self.jobs.warn)
        self.picture_view, self.table = PictureView(self.pictures), table_of(self.neighbours)
        self.table.sortByColumn(0, Qt.SortOrder.AscendingOrder)
        self.tabs = QTabWidget()
        self.caption, page = label(), QWidget()
        stack(page, self.caption, (self.picture_view, 1)).setContentsMargins(0, 4, 0, 0)
        self.tabs.addTab(page, "Pictures")
        self.tabs.addTab(self.table, "Table")
        self.tabs.setMinimumHeight(240)
        content = QWidget()
        stack(content, in_row(self.own, (self.header, 1)), self.shares, self.note, (self.tabs, 1))
        return content

    def show_now(self) -> None:
        """Show the evidence of the selected spot."""
        prediction = self.session.prediction
        reason, found, lacking = self._nothing_to_show(), None, False
        if not reason:
            try:
                found = self._find()
            except UserError as error:
                reason, lacking = in_panel_words(error), True
        self.empty.setText(reason)
        self.empty.setVisible(found is None)
        moved = prediction is not None and prediction.path is not None and not prediction.provenance.external
        self.find_button.setVisible(lacking and moved)
        self.content.setVisible(found is not None)
        if found is not None:
            self._show(found)

    def _nothing_to_show(self) -> str:
        """Return why no evidence can be shown, and what to do; ``""`` if it can."""
        session = self.session
        if session.prediction is None or session.shown is None:
            return f"{NO_PREDICTION} Then click a spot."
        if session.shown.predicted is None:
            return f"{session.shown.name} is not predicted. Choose another gene."
        if len(session.selected) == 0:
            return CLICK
        if len(session.selected) > 1:
            return several_words(session.shown, session)
        return ""

    def _find(self) -> "Evidence":
        prediction, shown = self.session.prediction, self.session.shown
        assert prediction is not None
        assert shown is not None
        genes = [shown.name] if shown.kind == "gene" else panel_genes(prediction, self.session.panels[shown.name])
        return evidence(prediction, int(self.session.selected[0]), genes)

    def _show(self, found: "Evidence") -> None:
        prediction, shown = self.session.prediction, self.session.shown
        assert prediction is not None
        assert shown is not None
        gene = shown.name if shown.kind == "gene" else f"mean of {count_text(len(found.genes), 'gene')}"
        self.header.setText(header_words(prediction, shown, found))
        patch = self._own_patch(prediction, found.spot)
        self.own.setVisible(patch is not None)
        if patch is not None:
            pixmap = pixmap_of(patch)
            self.own.setPixmap(in_square(pixmap, OWN_SIDE))
            self.own.setToolTip(f"{enlarged(pixmap)}<br>The patch that the model saw at this spot.")
        sections = list(found.by_section.index)
        trained_on = prediction.provenance.trained_on
        steady = len(trained_on) <= len(HUES) and set(sections) <= set(trained_on)
        colours = section_colours(trained_on if steady else sections)
        show_shares(self.shares, found.by_section, colours)
        first = not self.neighbours.rowCount()
        self.neighbours.titles = {**TITLES, "expression": (gene, *TITLES["expression"][1:])}
        table = found.table.reset_index()[list(TITLES)].astype({"section": str, "patient": str})
        self.neighbours.show(table.replace({"patient": {"": "not known"}}))
        if first:  # after that they are the user's to change
            self.table.resizeColumnsToContents()
        self._show_pictures(prediction, found, gene, colours)

    def _own_patch(self, prediction: "Prediction", spot: int) -> "Pixels | None":
        slide = self.session.slide
        try:
            return None if slide is None else patch_of(prediction, slide, spot)
        except UserError as error:
            self.jobs.warn(in_panel_words(error))
            return None

    def _show_pictures(self, prediction: "Prediction", found: "Evidence", gene: str, colours: dict[str, str]) -> None:
        thumbnails, note = None, ""
        if self._opened is None or self._opened[0] is not prediction:
            self._open_thumbnails()
        else:
            _, thumbnails, note = self._opened
        patch = None if prediction.checkpoint is None else prediction.checkpoint.card.preprocessing.patch
        wide = "" if patch is None else f", each {patch.patch_px * patch.model_mpp:.0f} µm wide"
        self.caption.setText(
            f"The most similar first{wide}. Rest the mouse on one to enlarge it. Below each: the colour of its "
            f"section, {gene}, and similarity."
        )
        self.note.setText(note)
        self.note.setVisible(bool(note))
        self.tabs.setTabVisible(0, not note)
        self.pictures.show_evidence(found, gene, thumbnails, colours)
        self.picture_view.scrollToTop()

    def _open_thumbnails(self) -> None:
        """Open the pictures of the checkpoint's training spots, once for a prediction."""
        prediction = self.session.prediction
        if self.jobs.busy or prediction is None:
            return
        opened: list[Thumbnails | None] = []

        def ended() -> None:
            if not opened:  # an error was told, or it was cancelled
                self._opened = (prediction, None, NOT_OPENED)
            else:
                self._opened = (prediction, opened[0], "" if opened[0] is not None else NO_PICTURES)
            self.refresh()

        self.jobs.start(open_thumbnails(prediction), opened.append, "Checking the pictures", ended=ended)


def header_words(prediction: "Prediction", shown: Shown, found: "Evidence") -> str:
    """Return what is known of a spot, as rich text.

    Parameters
    ----------
    prediction : Prediction
        Of the section.
    shown : Shown
        The gene or panel.
    found : Evidence
        Of the spot.
    """
    spot, k, weighted = found.spot, len(found.table), prediction.weights is not None
    assert shown.predicted is not None
    assert prediction.bank is not None
    measured = "not measured" if shown.measured is None else f"measured <b>{shown.measured[spot]:.2f}</b>"
    lines = [
        f"Spot <b>{escape(str(prediction.spots.obs_names[spot]))}</b>",
        f"<b>{escape(shown.name)}</b>: predicted <b>{shown.predicted[spot]:.2f}</b>, {measured} ({shown.unit})",
    ]
    if shown.kind == "panel":
        lines.append(
            f"Below: the mean log-normalised expression of its {count_text(len(found.genes), 'gene')}, "
            f"{found.value:.2f} over {count_text(k, 'training spot')}{' (weighted)' if weighted else ''}, standard "
            f"deviation {found.spread:.2f}"
        )
    else:
        mean = "Weighted mean" if weighted else "Mean"
        interval = "" if found.interval is None else ", 90 % interval {:.2f} to {:.2f}".format(*found.interval)
        of = f"the {k} most similar of the model's {count_text(len(prediction.bank.obs), 'training spot')}"
        lines.append(f"{mean} of {of}, standard deviation {found.spread:.2f}{interval}")
    trust = prediction.confidence().iloc[spot]
    lines.append(f"Similarity: mean {trust['mean_similarity']:.2f}, best {trust['best_similarity']:.2f}")
    out_of_distribution = prediction.out_of_distribution()
    if out_of_distribution is not None and out_of_distribution[spot]:
        lines.append(
            "⚠ <b>Unlike the training tissue</b>: its best similarity is lower than that of 99 % of the training "
            "spots. Its value is unreliable."
        )
    return "<br>".join(lines)


def several_words(shown: Shown, session: Session) -> str:
    """Return what to do where several spots are selected, and their mean."""
    rows = session.selected
    both = (("predicted", shown.predicted), ("measured", shown.measured))
    means = ", ".join(f"{what} {values[rows].mean():.2f}" for what, values in both if values is not None)
    return (
        f"{len(rows):,} spots are selected. Choose one to see the training spots behind its value.\n\nMean of "
        f"{shown.name}: {means} ({shown.unit})."
    )
