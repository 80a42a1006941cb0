"""Garbage is collected in the thread of the window, also while other threads work.

Python collects garbage in whichever thread makes one object too many. A closed window of napari is garbage of that
kind: a ring of objects, with Qt's among them. Destroyed in another thread than their own, they leave an OpenGL context
that Qt still takes for the current one, and the next widget that goes ends the process.
"""

import gc
import time

FULL_EVERY = 10.0  # seconds: going through all objects takes a fifth of one


class Garbage:
    """What keeps Python's collector in the window's thread. All methods are called in that thread."""

    def __init__(self) -> None:
        self._held = 0
        self._was_on = True
        self._full = 0.0

    def hold(self) -> None:
        """Let nothing be collected in a thread that begins to work; `collect` does it meanwhile."""
        if not self._held:
            self._was_on = gc.isenabled()
            gc.disable()
        self._held += 1

    def release(self) -> None:
        """Leave it to Python again, once all that was held is released."""
        self._held -= 1
        if not self._held and self._was_on:
            gc.enable()

    def collect(self) -> None:
        """Collect what is due, as Python would have by itself."""
        if not self._held or not self._was_on:
            return
        for generation in (2, 1, 0):
            due = gc.get_count()[generation] > gc.get_threshold()[generation]
            if due and (generation < 2 or time.monotonic() - self._full > FULL_EVERY):
                gc.collect(generation)
                self._full = time.monotonic() if generation == 2 else self._full
                return


garbage = Garbage()
