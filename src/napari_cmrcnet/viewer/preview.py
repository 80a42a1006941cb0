"""The spots of a grid, shown on the slide before anything is predicted."""

from typing import TYPE_CHECKING

from napari_cmrcnet.viewer.boundary import layer_placement, placement_of, to_napari
from napari_cmrcnet.viewer.slide_layer import slide_layer, slide_path

if TYPE_CHECKING:
    import napari

    from napari_cmrcnet.sections.section import Section
    from napari_cmrcnet.viewer.session import Session

PREVIEW = "Spot grid (preview)"


def show_preview(viewer: "napari.viewer.Viewer", session: "Session", section: "Section") -> bool:
    """Show where the spots of a section that would be predicted lie: over its slide, which is opened if it is not.

    Return whether it is shown: not where the viewer shows a case of another section.
    """
    remove_preview(viewer)
    path, shown = section.slide.path.absolute(), session.slide
    if session.case is not None and (shown is None or shown.path.absolute() != path):
        return False
    placement = layer_placement(section.mpp)
    if session.case is None:
        slide = next((layer for layer in viewer.layers if slide_path(layer) == path), None)
        if slide is None:
            levels, settings, _ = slide_layer(section.slide, section.mpp)
            slide = viewer.add_image(levels, **settings)
            slide.metadata["cmrcnet"]["preview"] = True
        placement = placement_of(slide)  # it may have been opened with another pixel size
    preview = viewer.add_points(
        to_napari(section.xy),
        size=section.spot_diameter,
        face_color="transparent",
        border_color="#0050ff",
        border_width=0.12,
        name=PREVIEW,
        **placement,
    )
    preview.editable = False
    return True


def remove_preview(viewer: "napari.viewer.Viewer") -> None:
    """Remove the preview where there is one, with the slide that was opened for it."""
    for layer in list(viewer.layers):
        ours = layer.metadata.get("cmrcnet")
        if layer.name == PREVIEW or (isinstance(ours, dict) and ours.get("preview")):
            viewer.layers.remove(layer)
