"""A change of a session that is made wholly or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from psygnal import EmitLoopError

from napari_cmrcnet.common.errors import UserError

if TYPE_CHECKING:
    from napari_cmrcnet.evaluation.shown import Shown
    from napari_cmrcnet.viewer.display_settings import DisplaySettings
    from napari_cmrcnet.viewer.session import Session

NOTHING: dict[str, Any] = {
    **dict.fromkeys(("case", "slide", "scores", "shown")),
    "scoring": False,
    "eyes": {},
    "listed": (),
}


@contextmanager
def wholly(session: "Session", name: str) -> Iterator[None]:
    """Make a change, or none: where somebody fails who is told of it, all are told of what was before.

    Where not even that can be shown, nothing is.

    Parameters
    ----------
    session : Session
        What is changed.
    name : str
        What the change is called in the error.

    Raises
    ------
    UserError
        If it cannot be made.
    """
    before = vars(session).copy()
    try:
        yield
    except Exception as error:
        cause = error.__cause__ if isinstance(error, EmitLoopError) else error
        if any(vars(session)[name] is not was for name, was in before.items()):
            display = session.display
            try:
                session.__dict__.update(before | {"shown": None})
                tell_of_case(session, before["shown"], display)
            except EmitLoopError:
                session.__dict__.update(before | NOTHING)  # the last resort
                with suppress(EmitLoopError):
                    session.case_changed.emit()
        if isinstance(cause, UserError):
            raise cause from error
        raise UserError(_not_shown(session, name, cause)) from error


def tell_of_case(session: "Session", shown: "Shown | None", display: "DisplaySettings") -> None:
    """Tell of another case, after these settings; what of it is shown comes last, so that it is drawn once."""
    session.case_changed.emit()
    if session.display != display:
        session.display_changed.emit(session.display, display)
    if shown is not None:
        session.shown = shown
        session.shown_changed.emit()


def _not_shown(session: "Session", name: str, cause: BaseException | None) -> str:
    here = "nothing is shown now" if session.case is None else f"{session.case.name} is shown as before"
    reason = f"{type(cause).__name__}: {cause}" if str(cause) else type(cause).__name__
    return f"{name or 'The change'} could not be shown ({reason}); {here}."
