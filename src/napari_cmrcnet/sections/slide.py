"""Slides by the name that the case scripts of open issues have for them; `napari_cmrcnet.slides.slide` is the place."""

from napari_cmrcnet.slides.slide import Slide, open_slide

__all__ = ["Slide", "open_slide"]
