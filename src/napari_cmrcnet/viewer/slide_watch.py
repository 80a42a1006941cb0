"""What happens to the file of a slide while it is shown: said once, not at each look."""

import math
import time
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from napari_cmrcnet.common.errors import UserError

if TYPE_CHECKING:
    from napari_cmrcnet.slides.slide import Slide

EVERY = 1.0  # seconds between looks at the file: on a share each takes a while

_next_look: "WeakKeyDictionary[Slide, float]" = WeakKeyDictionary()


def watch(slide: "Slide", damage: UserError | None = None) -> None:
    """Tell the user, once for a slide that is shown, that its file was changed, cut short or removed, or is damaged.

    Parameters
    ----------
    slide : Slide
        What is read from now.
    damage : UserError, optional
        Why a part of it could not be read, if that is so.
    """
    now = time.monotonic()
    due = _next_look.get(slide, now)
    if due == math.inf or (damage is None and now < due):
        return
    _next_look[slide] = now + EVERY
    try:
        slide.check_unchanged()
        reason = damage
    except UserError as changed:  # which is why it could not be read, if it could not
        reason = changed
    if reason is not None:
        from napari.utils.notifications import show_error

        _next_look[slide] = math.inf
        show_error(f"{reason} What cannot be read is shown white.")
