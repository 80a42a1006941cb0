"""The endings of the files that are opened: one list, for dialogs, for what is dropped on the window, and for napari.

What a file is, its content decides; an ending only says who is asked. `napari.yaml` repeats them, as a manifest cannot
refer to code; a test compares the two.
"""

from collections.abc import Sequence
from pathlib import Path

SLIDES = (
    ".svs", ".ndpi", ".mrxs", ".scn", ".bif", ".svslide", ".vms", ".vmu", ".czi", ".vsi", ".isyntax", ".i2syntax",
    ".dcm",    ".tif", ".tiff", ".btf", ".tf8", ".qptiff", ".png", ".jpg", ".jpeg",
)  # fmt: skip
NAPARI_READS = (".png", ".jpg", ".jpeg")
"""Pictures that napari opens itself unless it is told otherwise; a slide among them is chosen in the Predict panel."""
SPOTS = (".h5ad", ".h5", ".tsv", ".tsv.gz", ".csv", ".csv.gz", ".parquet", ".json", ".mtx", ".mtx.gz", ".xenium")
PREDICTIONS = (".h5ad",)
SECTIONS = (".h5", ".tsv", ".tsv.gz", ".mtx", ".mtx.gz")
"""Of the spots, those that are dropped on the window: what has another ending is dropped as its folder."""
TABLES = (".csv", ".tsv", ".parquet")
"""Values that another tool predicted; h5ad files and stores may hold them, too."""
REGIONS = (".geojson", ".geojson.gz")
PROJECTS = (".cmrproj",)


def ends_in(path: str, suffixes: Sequence[str]) -> bool:
    """Whether a path ends in one of these, in capitals or not."""
    return path.lower().endswith(tuple(suffixes))


def dialog_filter(what: str, suffixes: Sequence[str]) -> str:
    """Return what a file dialog takes: ``Slides (*.svs *.tif);;All files (*)``."""
    return f"{what} ({' '.join(f'*{suffix}' for suffix in suffixes)});;All files (*)"


def slide_name(path: Path) -> str:
    """Return what a slide is called: ``"S1"`` of ``S1.tif`` and of ``S1.ome.tif``."""
    return path.stem.removesuffix(".ome")
