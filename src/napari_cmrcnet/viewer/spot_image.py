"""Very many spots as a picture, for what the viewer does with a Points layer.

For another gene a Points layer computes and uploads a hundred bytes and more a spot. Here it is a look-up of each
pixel's colour, and the number of spots plays no part when the camera moves.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from napari.components.overlays import ColorBarOverlay  # noqa: TID253 - imported only where there are so many spots
from napari.layers import Image  # noqa: TID253
from napari.layers.utils.color_manager import ColorManager  # noqa: TID253
from napari.utils.status_messages import format_feature_value  # noqa: TID253

from napari_cmrcnet.viewer.boundary import to_napari
from napari_cmrcnet.viewer.raster import raster_of

if TYPE_CHECKING:
    from napari_cmrcnet.retrieval.case import Case

OF_ALL_LAYERS = ("opacity", "blending", "name", "metadata", "scale", "units", "axis_labels")


class SpotImage(Image):
    """The spots of a view as a picture, with those properties of a Points layer that the viewer needs.

    Parameters
    ----------
    case : Case
        Whose spots.
    settings : mapping
        What ``viewer.add_points`` would take.

    Attributes
    ----------
    features : mapping of str to sequence
        What is said of a spot under the mouse, one value per spot.
    """

    data: Any  # the picture, RGBA uint8 (height, width, 4)
    _type_string = "points"  # what it is listed and saved as

    def __init__(self, case: "Case", settings: Mapping[str, Any]) -> None:
        self._case, self._size, self._symbol = case, np.float64(settings["size"]), settings["symbol"]
        self._rgba = np.zeros((len(case), 4), np.uint8)
        self._cut: npt.NDArray[np.bool_] | None = None  # the spots that clipping planes cut off
        self.features: Mapping[str, Any] = {}
        limits, colormap = settings["face_contrast_limits"], settings["face_colormap"]
        self._face = ColorManager(contrast_limits=limits, continuous_colormap=colormap)  # for the colour bar
        self._set_raster()
        common = {name: settings[name] for name in OF_ALL_LAYERS}
        picture = np.zeros((*self._raster.spots.shape, 4), np.uint8)
        super().__init__(picture, rgb=True, affine=self._placed(settings["scale"]), **common)
        self._overlays["face_colorbar"] = ColorBarOverlay(colormanager_attribute="_face")

    @property
    def face_colorbar(self) -> Any:
        """The colour bar."""
        return self._overlays["face_colorbar"]

    @property
    def face_colormap(self) -> Any:
        """The colormap of the colour bar."""
        return self._face.continuous_colormap

    @face_colormap.setter
    def face_colormap(self, colormap: Any) -> None:
        self._face.continuous_colormap = colormap

    @property
    def face_contrast_limits(self) -> tuple[float, float]:
        """The values at the ends of the colour bar."""
        low, high = self._face.contrast_limits
        return low, high

    @face_contrast_limits.setter
    def face_contrast_limits(self, limits: tuple[float, float]) -> None:
        self._face.contrast_limits = limits

    @property
    def face_color(self) -> npt.NDArray[np.float32]:
        """The colour of each spot, RGBA (n, 4), from 0 to 1."""
        return np.divide(self._rgba, 255, dtype=np.float32)

    @face_color.setter
    def face_color(self, rgba: npt.ArrayLike) -> None:
        self._rgba = (np.asarray(rgba, np.float32) * 255 + 0.5).astype(np.uint8)
        self._draw()

    @property
    def size(self) -> np.float64:
        """Diameter of the spots, in full-resolution pixels."""
        return self._size

    @size.setter
    def size(self, diameter: float) -> None:
        self._size = np.float64(diameter)
        self._set_raster()
        self._draw()

    @property
    def symbol(self) -> Any:
        """``"disc"`` or ``"ring"``, of all spots or of each."""
        return self._symbol

    @symbol.setter
    def symbol(self, symbol: Any) -> None:
        self._symbol = symbol
        self._set_raster()
        self._draw()

    @property
    def experimental_clipping_planes(self) -> Any:
        """Planes beyond which spots are not drawn; napari itself clips no picture in two dimensions."""
        return super().experimental_clipping_planes

    @experimental_clipping_planes.setter
    def experimental_clipping_planes(self, planes: Any) -> None:
        Image.experimental_clipping_planes.fset(self, planes)
        x, beyond = self._case.xy[:, 0] * self.scale[-1], np.zeros(len(self._case), bool)
        for plane in self.experimental_clipping_planes:
            beyond |= (x - plane.position[-1]) * plane.normal[-1] < 0
        if beyond.any() or self._cut is not None:
            self._cut = beyond if beyond.any() else None
            self._draw()

    def get_value(self, position: Any, *, world: bool = False, **_: Any) -> int | None:
        """Return the row of the spot at a position, None beside all."""
        if not self.visible:
            return None
        row, column = (self.world_to_data(position) if world else position)[-2:]
        return self._raster.spot_at(row, column)

    def get_status(self, position: Any = None, *, world: bool = False, **which: Any) -> dict[str, Any]:
        """Return what the status bar says of a position, with the spot's features as a Points layer has them."""
        status: dict[str, Any] = super().get_status(position, world=world, **which)
        spot = None if position is None else self.get_value(position, world=world)
        here = {} if spot is None else {name: values[spot] for name, values in self.features.items()}
        said = ", ".join(f"{name}: {format_feature_value(value)}" for name, value in here.items() if value == value)
        if said:  # what is NaN is not known
            status["coordinates"] += f"; {said}"
            status["value"] += f"; {said}"
        return status

    def as_layer_data_tuple(self) -> tuple[Any, dict[str, Any], str]:
        """Return it as the Points layer that it stands for, which is how it is saved."""
        settings = {name: getattr(self, name) for name in (*OF_ALL_LAYERS, "features", "size", "symbol")}
        return to_napari(self._case.xy), settings | {"border_width": 0, "face_color": self.face_color}, "points"

    def _set_raster(self) -> None:
        rings = np.asarray(self._symbol) == "ring"
        self._raster = raster_of(self._case, float(self._size), rings if rings.ndim else None)

    def _placed(self, scale: Any) -> npt.NDArray[np.float64]:
        """Return what takes the scaled (row, column) of a pixel to its place in the world."""
        affine = self._raster.place.copy()
        affine[:2, 2] *= scale
        return affine

    def _draw(self) -> None:
        raster, rgba = self._raster, self._rgba
        if self._cut is not None:
            rgba = rgba.copy()
            rgba[self._cut, 3] = 0
        picture = self.data
        if picture.shape[:2] != raster.spots.shape:
            picture = np.empty((*raster.spots.shape, 4), np.uint8)
            self.affine = self._placed(self.scale)
        raster.fill(rgba, picture)
        if picture is self.data:
            self.refresh(extent=False)
        else:
            self.data = picture
            self.editable = False  # new data may be edited, for napari
