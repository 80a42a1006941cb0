"""What a file that is dropped holds: a saved prediction, a measured section, or what another tool predicted there."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import Job, Progress
from napari_cmrcnet.common.suffixes import PREDICTIONS, TABLES, ends_in
from napari_cmrcnet.viewer.reopen import Opened, make_ready, open_measured, open_prediction

if TYPE_CHECKING:
    from napari_cmrcnet.retrieval.case import Case

SECTION, TABLE = "A measured section", "Values that another tool predicted at these spots"
"""What an h5ad file or a store may be, where it does not say."""


def is_table(path: Path, beside: bool) -> bool:
    """Say whether a path is a table of values, by its ending, and no source of spots.

    Parameters
    ----------
    path : Path
        The file.
    beside : bool
        Whether a measured section is open: counts without their positions are then values at its spots.
    """
    if not ends_in(path.name, TABLES):
        return False
    from napari_cmrcnet.sections.spots import is_spots

    try:
        return not is_spots(path)
    except UserError:
        return beside


def open_file(path: Path, now: Opened | None, asked: Mapping[str, str]) -> Job[Opened | UserError]:
    """Open what a path is of.

    Parameters
    ----------
    path : Path
        A saved prediction, spots, or a table of values.
    now : Opened, optional
        The measured section that is open, at whose spots a table was predicted.
    asked : mapping of str to str
        What was chosen before, by the setting of the error that asked for it. ``"spots"``: measured spots, where no
        section is open.

    Returns
    -------
    Opened or UserError
        The error that lists what is to be chosen from, where the file does not say enough.

    Raises
    ------
    UserError
        If it cannot be opened.
    """
    yield Progress(f"Opening {path.name}", 0, 0)
    from napari_cmrcnet.retrieval.prediction_file import is_prediction

    if ends_in(path.name, PREDICTIONS) and is_prediction(path):
        return (yield from open_prediction(path))
    try:
        return (yield from _section_or_table(path, now, asked))
    except UserError as error:
        if error.choices:
            return error
        raise


def _section_or_table(path: Path, now: Opened | None, asked: Mapping[str, str]) -> Job[Opened]:
    if is_table(path, now is not None):
        if now is None:
            now = yield from open_measured(Path(asked["spots"]))
        return _beside(path, now, asked)
    try:
        own = yield from open_measured(path, asked.get("library", ""))
    except UserError as reason:
        if now is None or reason.choices or not _may_be_table(path):
            raise
        if asked.get("kind") != TABLE:
            raise UserError(str(reason), "kind", [TABLE]) from reason
        return _beside(path, now, asked)
    kind = asked.get("kind") or (SECTION if not _may_be_table(path) else _kind(path, own.case, now))
    if kind == SECTION:
        return own
    measured = own if own.case.counted else now
    assert measured is not None, "it was asked for with a section open"
    return _beside(path, measured, asked)


def _may_be_table(path: Path) -> bool:
    return ends_in(path.name, PREDICTIONS) or path.suffix.lower() == ".zarr" or path.parent.name == "tables"


def _kind(path: Path, case: "Case", now: Opened | None) -> str:
    """Return what a file that can be opened as a measured section is.

    Raises
    ------
    UserError
        If it may be both: counts beside a matrix that calls itself predicted, or values without counts while a
        measured section is open.
    """
    if case.counted:
        from napari_cmrcnet.retrieval.external_files import predicted_in

        names = predicted_in(path)
        if not names:
            return SECTION
        said = f"{path} has counts, and predicted values ({', '.join(names)})."
    elif now is None:
        return SECTION
    else:
        said = f"{path} has no counts."
    raise UserError(said, "kind", [TABLE, SECTION])


def _beside(path: Path, measured: Opened, asked: Mapping[str, str]) -> Opened:
    from napari_cmrcnet.retrieval.external import Scale, open_external

    slide = measured.slide
    whole = slide if slide is not None and slide.scale == 1 else None
    scale = cast("Scale | None", asked.get("scale"))
    spots: Any = measured.case.spots
    case = open_external(path, spots, layer=asked.get("layer", ""), scale=scale, slide=whole)
    make_ready(case)
    return replace(measured, case=case)
