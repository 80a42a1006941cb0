"""See which genes an H&E slide expresses: spatial gene expression by cross-modal retrieval."""

from importlib.metadata import version

__version__ = version("napari-cmrcnet")
