"""What a SpatialData store of a case holds beside its table's values: spots, regions, and the slide's pixels."""

from collections.abc import Sequence
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.retrieval.case import Case

if TYPE_CHECKING:
    from napari_cmrcnet.sections.regions import Region
    from napari_cmrcnet.slides.slide import Slide

SPOTS, REGIONS, IMAGE = "spots", "regions", "slide"
_REGION, _SPOT = "annotated_shapes", "annotated_spot"  # columns by which SpatialData joins them with the table
TILE = 2048  # pixels of the slide that are held at a time, on a side
SMALLEST = 1024  # pixels on the longer side of the lowest resolution


def elements_of(case: Case, table: AnnData, regions: "Sequence[Region]", image: "Pixels | None") -> Any:
    """Return a store, in memory, without the values of its table; the pixels of an image are read when it is written.

    Raises
    ------
    UserError
        If spatialdata is not installed.
    """
    try:
        from spatialdata import SpatialData, sanitize_table
        from spatialdata.models import ShapesModel, TableModel
        from spatialdata.transformations import Identity, Scale
    except ImportError as error:
        raise UserError(
            "Writing SpatialData needs the package spatialdata, which is not installed; "
            'install it with: pip install "napari-cmrcnet[spatialdata]"'
        ) from error
    systems: dict[str, Any] = {"global": Identity()}
    if mpp := case.provenance.mpp:
        systems["microns"] = Scale([mpp, mpp], axes=("x", "y"))
    circles = ShapesModel.parse(
        case.xy,
        geometry=0,
        radius=case.spot_diameter / 2,
        index=table.obs_names,
        transformations=systems,
    )
    table.obs[_REGION] = pd.Categorical([SPOTS] * table.n_obs)
    table.obs[_SPOT] = table.obs_names.to_numpy(str)
    sanitize_table(table)
    table = TableModel.parse(table, region=SPOTS, region_key=_REGION, instance_key=_SPOT)
    images = {} if image is None else {IMAGE: _image(image, systems)}
    outlines = [region for region in regions if not region.geometry.is_empty]
    shapes = {SPOTS: circles} | ({REGIONS: _outlines(outlines, systems)} if outlines else {})
    return SpatialData(images=images, shapes=shapes, tables={"table": table})


def _outlines(regions: "Sequence[Region]", systems: dict[str, Any]) -> Any:
    from geopandas import GeoDataFrame
    from spatialdata.models import ShapesModel

    columns = {"name": [each.name for each in regions], "classification": [each.classification for each in regions]}
    table = GeoDataFrame(columns, geometry=[each.geometry for each in regions])
    return ShapesModel.parse(table, transformations=systems)


def _image(pixels: "Pixels", systems: dict[str, Any]) -> Any:
    from dask.array import from_array
    from spatialdata.models import Image2DModel

    halvings = max(0, int(np.ceil(np.log2(max(pixels.shape) / SMALLEST))))
    return Image2DModel.parse(
        from_array(pixels, chunks=(TILE, TILE, 3), asarray=False, lock=True, name=False),
        dims=("y", "x", "c"),
        c_coords=("r", "g", "b"),
        scale_factors=[2] * halvings or None,
        transformations=systems,
    )


class Pixels:
    """The full resolution of a slide as what dask takes for an array; once ``stopped`` is set, no more is read."""

    dtype, ndim = np.dtype(np.uint8), 3

    def __init__(self, slide: "Slide") -> None:
        self.slide, self.shape, self.stopped = slide, (*slide.shape, 3), Event()

    def __getitem__(self, where: tuple[slice, slice, slice]) -> Any:
        if self.stopped.is_set():
            raise UserError("The export was cancelled.")
        rows, columns, channels = (part.indices(length) for part, length in zip(where, self.shape, strict=True))
        left, top, width, height = columns[0], rows[0], columns[1] - columns[0], rows[1] - rows[0]
        return self.slide.read_region(left, top, width, height)[..., slice(*channels)]
