"""The spots of a grid, shown on the slide before anything is predicted."""

from typing import TYPE_CHECKING

from napari_cmrcnet.viewer.boundary import placement_of, to_napari
from napari_cmrcnet.viewer.slide_layer import slide_layer, slide_path

if TYPE_CHECKING:
    import napari

    from napari_cmrcnet.sections.section import Section

PREVIEW = "Spot grid (preview)"


def show_preview(viewer: "napari.viewer.Viewer", section: "Section") -> None:
    """Show where a section's spots lie, and its slide if that is not open."""
    remove_preview(viewer)
    slide = next((layer for layer in viewer.layers if slide_path(layer) == section.slide.path.absolute()), None)
    if slide is None:
        levels, settings, _ = slide_layer(section.slide, section.mpp)
        slide = viewer.add_image(levels, **settings)
    (library,) = section.spots.uns["spatial"].values()
    preview = viewer.add_points(
        to_napari(section.xy),
        size=float(library["scalefactors"]["spot_diameter_fullres"]),
        face_color="transparent",
        border_color="#0050ff",
        border_width=0.12,
        name=PREVIEW,
        **placement_of(slide),  # it may have been opened with another pixel size
    )
    preview.editable = False


def remove_preview(viewer: "napari.viewer.Viewer") -> None:
    """Remove the preview where there is one."""
    for layer in [layer for layer in viewer.layers if layer.name == PREVIEW]:
        viewer.layers.remove(layer)
