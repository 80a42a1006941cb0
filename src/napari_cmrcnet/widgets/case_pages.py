"""From one case of the list to another: all that was shown of the one before goes."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.files import is_there
from napari_cmrcnet.viewer.case_list import open_case
from napari_cmrcnet.viewer.registry import layers_of
from napari_cmrcnet.viewer.slide_layer import slide_path
from napari_cmrcnet.viewer.view_record import record_of
from napari_cmrcnet.widgets.dock_panel import PLUGIN, open_panel
from napari_cmrcnet.widgets.jobs import run_for_case
from napari_cmrcnet.widgets.keeper import may_leave, run_to_replace
from napari_cmrcnet.widgets.open_files import show_opened

if TYPE_CHECKING:
    from napari_cmrcnet.retrieval.project import ProjectCase
    from napari_cmrcnet.viewer.reopen import Opened


def show_row(viewer: Any, row: int, again: bool = False) -> None:
    """Open a case of the list in place of the one that is shown, if that may be replaced: see `may_leave`."""
    cases = layers_of(viewer).cases
    shown = cases.row if cases.session.case is not None else None  # a slide alone may be gone from the layers
    if row != shown and 0 <= row < len(cases.project.cases) and may_leave(viewer, again):
        entry, session = cases.project.cases[row], layers_of(viewer).session

        def done(opened: "Opened | None") -> None:
            if session.case is not None and opened is not None and not opened.case.view:
                # one that was never looked at goes on with the gene, colours and limits that are looked at now
                opened.case.view = {key: value for key, value in record_of(session).items() if key != "regions"}
            _show(viewer, entry, opened)

        run_to_replace(viewer, open_case(entry), done, f"Opening {entry.name}")


def show_beside(viewer: Any, row: int) -> None:
    """Open a case of the list to the right of the one that is shown."""
    layers = layers_of(viewer)
    entry = layers.cases.project.cases[row]

    def done(opened: "Opened | None") -> None:
        if opened is None or not opened.case.genes:
            raise UserError(f"{entry.name} has no expression to show yet; predict it first.")
        layers.show_beside(opened.case, opened.slide)

    run_for_case(viewer, open_case(entry), done, f"Opening {entry.name}")


def step_case(viewer: Any, by: int) -> None:
    """Open the case that is so many places further down the list."""
    row = layers_of(viewer).cases.row
    show_row(viewer, 0 if row is None else row + by)


def bind_pages(viewer: Any) -> None:
    """Let Page Down and Page Up open the next case and the one before, while the picture is looked at."""
    # Functions, no `partial`: napari asks all that is bound for its ``__name__`` at every key.
    viewer.bind_key("PageDown", lambda viewer: step_case(viewer, 1), overwrite=True)
    viewer.bind_key("PageUp", lambda viewer: step_case(viewer, -1), overwrite=True)


def _show(viewer: Any, entry: "ProjectCase", opened: "Opened | None") -> None:
    cases, session = layers_of(viewer).cases, layers_of(viewer).session
    alone = session.case is None and cases.row is not None  # a slide of the list, which is left now
    if opened is not None and opened.case.genes:
        show_opened(viewer, opened)
        if alone:
            _remove_slides(viewer)
        return
    if opened is not None:
        opened.close()
    if not is_there(entry.slide):
        raise UserError(
            f"{entry.name} has no expression to show, and its slide is not at {entry.slide or 'hand'}; bring it back, "
            "or remove this case from the list."
        )
    cases.alone = entry
    session.look_at(None, alone=str(Path(entry.slide).resolve()))  # nothing of another patient stays
    _remove_slides(viewer)
    viewer.open(entry.slide, plugin=PLUGIN)
    form = open_panel(viewer, "Predict").form
    form.choose(Path(entry.slide), Path(entry.spots) if entry.spots else None)
    form.patient.setText(entry.patient)


def _remove_slides(viewer: Any) -> None:
    for layer in [layer for layer in viewer.layers if slide_path(layer) is not None]:
        viewer.layers.remove(layer)
