"""What one gene costs in a window: from the key press to new colours in three layers, their colour bars and the title.

usage: xvfb-run -a python -m benchmarks.gene_view [--small]

What is ours of it, without napari, is timed first. Beside the whole, for the same three layers of the same gene:
napari's colouring by a feature, `features =` alone, which leaves the colour bars wrong; the same with the limits; and
new layers for each gene. Each way has a window of its own. The colours of all are compared. What is drawn afterwards is
the same for all and is timed apart.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.gene_switch import random_bank, random_prediction
from benchmarks.harness import Row, at_most, interleave, main
from benchmarks.screen import no_window

if TYPE_CHECKING:
    from napari_cmrcnet.retrieval.prediction import Prediction

VIEWS = ("measured", "predicted", "difference")
K = 50
FEATURES, LIMITS, NEW = "features = alone", "features = and limits", "a new layer for each gene"


class Ours:
    """The session and the layers that are drawn from it."""

    def __init__(self, prediction: "Prediction") -> None:
        import napari

        from napari_cmrcnet.viewer.registry import layers_of, session_of

        self.viewer, self.names = napari.Viewer(), prediction.genes
        self.session, self.layers = session_of(self.viewer), layers_of(self.viewer)
        self.session.look_at(prediction)
        self.session.set_display(views=VIEWS)

    def values(self, gene: int) -> dict[str, dict[str, np.ndarray]]:
        """Return the features of each layer for a gene, taken while it is shown."""
        self.session.show(self.names[gene])
        return {view: dict(self.layers.points[view].features) for view in VIEWS}

    def show(self, gene: int) -> dict[str, Any]:
        """Show a gene; return the layers."""
        self.session.show(self.names[gene])
        return self.layers.points


class Plain:
    """Layers that napari colours by a feature, with values computed before."""

    def __init__(self, like: Ours, values: list[dict[str, dict[str, np.ndarray]]]) -> None:
        import napari

        self.viewer, self.like, self.values = napari.Viewer(), like, values
        self.layers: dict[str, Any] = {}
        self.add(0)
        grid, ours = self.viewer.canvas.grid, like.viewer.canvas.grid
        grid.stride, grid.shape, grid.enabled = ours.stride, ours.shape, True
        self.viewer.fit_to_view(margin=0.1)

    def add(self, gene: int) -> dict[str, Any]:
        """Replace the layers by new ones for a gene."""
        for layer in self.layers.values():
            self.viewer.layers.remove(layer)
        for view, like in self.like.layers.points.items():
            layer = self.viewer.add_points(
                like.data,
                features=self.values[gene][view],
                face_color=view,
                face_colormap=like.face_colormap,
                face_contrast_limits=like.face_contrast_limits,
                size=like.size,
                border_width=0,
                blending=like.blending,
                canvas_size_limits=like.canvas_size_limits,
                scale=like.scale,
                units=like.units,
                name=view,
            )
            for overlay in (layer.face_colorbar, layer.name_overlay):
                overlay.visible, overlay.position, overlay.box, overlay.font_size = True, "bottom_right", True, 9
            self.layers[view] = layer
        return self.layers

    def colour(self, gene: int) -> dict[str, Any]:
        """Set the features alone."""
        for view, layer in self.layers.items():
            layer.features = self.values[gene][view]
        return self.layers

    def colour_within_limits(self, gene: int) -> dict[str, Any]:
        """Set the features and the limits of the colours."""
        for view, layer in self.layers.items():
            layer.features = self.values[gene][view]
            layer.face_contrast_limits = self.like.layers.points[view].face_contrast_limits
        return self.layers


def own_work(prediction: "Prediction", rounds: int, goal_ms: float) -> Row:
    """Time what is ours alone: averages, PCC, limits, colours, names and title of three views, given to no layer."""
    from napari.utils.colormaps import ensure_colormap

    from napari_cmrcnet.viewer.coloring import colormap, colours, label, limits, values
    from napari_cmrcnet.viewer.session import Session

    session = Session()
    session.look_at(prediction)
    display = session.display
    maps = {view: ensure_colormap(colormap(view, display)) for view in VIEWS}

    def switch(turn: int) -> str:
        session.show(prediction.genes[turn + 1])
        shown = session.shown
        for view in VIEWS:
            coloured = values(view, shown, prediction, display)
            colours(coloured, limits(view, coloured, shown, display), maps[view])
            label(view, shown, display)
        return shown.title

    taken = interleave({"ours": switch}, rounds)
    sizes = {"spots": len(prediction), "layers": len(VIEWS), "k": K}
    what = f"gene switch in the viewer, {len(prediction):,} spots in {len(VIEWS)} layers, our own work"
    return taken.milliseconds(what, "ours", goal=at_most(goal_ms), sizes=sizes)


def same_colours(ours: dict[str, Any], other: dict[str, Any]) -> None:
    """Check that layers have the same colours, to one of 256 steps, once they have the same limits."""
    for view in VIEWS:
        other[view].face_contrast_limits = ours[view].face_contrast_limits
        np.testing.assert_allclose(other[view].face_color, ours[view].face_color, atol=1 / 255)


def turns(ways: dict[str, Callable[[int], Any]]) -> dict[str, Callable[[int], Any]]:
    """Return ways that are given a round and show another gene in each."""
    return {name: lambda turn, way=way: way(turn + 1) for name, way in ways.items()}


def drawn(ours: Ours, alone: Plain, what: str, sizes: dict[str, int]) -> Row:
    """Time two ways until all that they changed is drawn."""
    from qtpy.QtWidgets import QApplication

    QApplication.processEvents()
    ways = turns({"ours": ours.show, FEATURES: alone.colour})
    painted = {name: lambda turn, way=way: (way(turn), QApplication.processEvents()) for name, way in ways.items()}
    taken = interleave(painted, 2, same=None)
    note = "drawn by the processor, without a GPU"
    return taken.slower(f"{what}, until it is drawn", "ours", than=FEATURES, sizes=sizes, note=note)


def rows(small: bool) -> Iterator[Row]:
    """Time the ways at two sizes of a section."""
    if no_window("gene_view"):
        return
    rounds = 2 if small else 5
    bank = random_bank(*((500, 20) if small else (45_000, 100)))
    for spots, goal_ms in ((300, 16),) if small else ((5_000, 16), (50_000, 50)):
        prediction = random_prediction(bank, spots, K)
        yield own_work(prediction, 2 if small else 20, goal_ms)
        ours = Ours(prediction)
        values = [ours.values(gene) for gene in range(rounds + 1)]
        alone, limited = Plain(ours, values), Plain(ours, values)
        ways = {"ours": ours.show, FEATURES: alone.colour, LIMITS: limited.colour_within_limits}
        sizes = {"spots": spots, "layers": len(VIEWS), "k": K}
        what = f"gene switch in the viewer, {spots:,} spots in {len(VIEWS)} layers"
        taken = interleave(turns(ways), rounds, same=same_colours)
        yield taken.slower(what, "ours", than=FEATURES, goal=at_most(1.5), by="cpu", sizes=sizes)
        yield taken.faster(what, "ours", than=LIMITS, by="cpu", sizes=sizes)
        taken = interleave(turns({"ours": ours.show, NEW: limited.add}), 1, same=same_colours, warm_up=False)
        yield taken.faster(what, "ours", than=NEW, by="cpu", sizes=sizes)
        if spots == 5_000:  # more take minutes to draw without a GPU
            yield drawn(ours, alone, what, sizes)
        for window in (ours, alone, limited):
            window.viewer.close()


if __name__ == "__main__":
    main(rows)
