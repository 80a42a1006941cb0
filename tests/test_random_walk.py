"""A random walk of a user's actions over two sections: after each step, all that is seen is of one prediction."""

from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtWidgets import QApplication
from shapely.geometry import box

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.evaluation.scores import Scores, score
from napari_cmrcnet.sections.panels import Panel
from napari_cmrcnet.sections.regions import Region
from napari_cmrcnet.viewer import layers, view_groups
from napari_cmrcnet.viewer.boundary import to_napari
from napari_cmrcnet.viewer.display_settings import LAYOUTS, VIEWS
from napari_cmrcnet.viewer.layers import SectionLayers
from napari_cmrcnet.viewer.preview import remove_preview, show_preview
from napari_cmrcnet.viewer.registry import layers_of, session_of
from napari_cmrcnet.viewer.view_record import record_of
from one_prediction import Known, check, check_panels, look_at, seen

STEPS = 200  # of each of the seeds
MAY_FAIL = ("add_spots", "add_histology", "colour", "set_cells", "show_legends", "in_lines")


class User:
    """Does at random what a user can do in a window."""

    def __init__(self, viewer: Any, known: dict[str, Known], seed: int) -> None:
        self.viewer, self.known = viewer, known
        self.rng = np.random.default_rng(seed)
        self.session, self.layers = session_of(viewer), layers_of(viewer)
        self.refused = 0
        self.panels: dict[str, Any] = {}
        self.scores: dict[str, Scores] = {}

    def pick(self, things: Any) -> Any:
        things = list(things)
        return things[self.rng.integers(len(things))]

    def act(self) -> str:
        """Do one thing, and return what it was."""
        always = [self.predict, self.reopen, self.preview, self.fail]
        looking = [
            self.show, self.step, self.panel, self.flip, self.layout, self.views, self.colours, self.eye, self.delete,
            self.delete_all, self.rename, self.reorder, self.select, self.draw_region, self.remove_regions,
            self.open_slide, self.own_layer,
        ]  # fmt: skip
        looking += [self.choose_plot, self.score] if self.panels else []
        chosen = self.pick(always if self.session.prediction is None else [*always, *always, *looking])
        chosen()
        return str(chosen.__name__)

    def predict(self) -> None:
        which = self.pick(self.known.values())
        which.prediction.view = {}
        look_at(self.viewer, which)

    def reopen(self) -> None:
        which = self.pick(self.known.values())
        which.prediction.view = record_of(self.session)
        look_at(self.viewer, which)

    def preview(self) -> None:
        session, section = self.session, self.pick(self.known.values()).section
        if self.rng.random() < 0.3:
            remove_preview(self.viewer)
        shown = show_preview(self.viewer, session, section)
        assert shown == (session.slide in (None, section.slide))

    def fail(self) -> None:
        """Show another prediction, of which something cannot be drawn."""
        before, shown, visible = self.session.prediction, self.session.shown, seen(self.viewer)
        name, place, calls = self.pick(MAY_FAIL), self.rng.integers(3), 0
        drawing = layers if name == "in_lines" else view_groups
        original = getattr(drawing, name)

        def fails(*arguments: Any, **settings: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == place + 1:
                raise TypeError("cannot unpack non-iterable NoneType object")
            return original(*arguments, **settings)

        setattr(drawing, name, fails)
        try:
            look_at(self.viewer, self.pick(self.known.values()))
        except UserError:
            self.refused += 1
            assert (self.session.prediction, self.session.shown) in ((before, shown), (None, None))
            assert self.session.prediction is None or seen(self.viewer) == visible
        finally:
            setattr(drawing, name, original)

    def show(self) -> None:
        self.session.show(self.pick(self.session.prediction.genes))  # type: ignore[union-attr]

    def step(self) -> None:
        self.session.step(self.pick((-1, 1)))

    def panel(self) -> None:
        panel = Panel("mine", ("GENE1", "GENE2", self.pick(("GENE5", "GENE6"))))
        self.session.add_panel(panel)
        self.session.show_panel(panel)

    def flip(self) -> None:
        self.session.flip()

    def layout(self) -> None:
        self.session.set_display(layout=self.pick(LAYOUTS), front=self.pick(VIEWS))

    def views(self) -> None:
        chosen = tuple(view for view in VIEWS if self.rng.random() < 0.5)
        self.session.set_display(views=chosen or ("predicted",))

    def colours(self) -> None:
        limits = self.pick((None, (0.0, 2.0)))
        self.session.set_display(limits=limits, opacity=self.pick((0.5, 0.9)), spot_size=self.pick((0.5, 1.0, 2.0)))

    def eye(self) -> None:
        layer = self.pick(self.viewer.layers) if len(self.viewer.layers) else None
        if layer is not None and ours(self.layers, layer):
            layer.visible = not layer.visible

    def delete(self) -> None:
        if len(self.viewer.layers):
            self.viewer.layers.remove(self.pick(self.viewer.layers))
        self.show()  # it comes back with the next gene

    def delete_all(self) -> None:
        if self.rng.random() < 0.2:
            self.viewer.layers.clear()
        self.show()

    def rename(self) -> None:
        """Give a layer another name, which it has until the next gene."""
        if len(self.viewer.layers):
            self.pick(self.viewer.layers).name = f"mine {self.rng.integers(9)}"
        self.show()

    def reorder(self) -> None:
        layers = self.viewer.layers
        if len(layers):
            layers.move(self.rng.integers(len(layers)), self.rng.integers(len(layers) + 1))

    def select(self) -> None:
        assert self.session.prediction is not None
        spots = self.rng.integers(len(self.session.prediction), size=self.rng.integers(4))
        self.session.select(spots)

    def draw_region(self) -> None:
        """Draw a region by hand, or import one, and look at the table or not."""
        assert self.session.prediction is not None
        left = float(self.rng.integers(80) + (0 if self.session.prediction.name == "C" else 100))
        if self.layers.regions.layer is not None and self.rng.random() < 0.5:
            corners = to_napari([[left, 0], [left + 40, 0], [left + 40, 60]])
            self.layers.regions.layer.add(corners, shape_type="polygon")
        else:
            region = Region("imported", "", box(left, 0, left + 40, 90))
            self.session.set_regions([*self.session.regions, region])
        if self.rng.random() < 0.5:
            self.layers.read_regions()

    def remove_regions(self) -> None:
        self.session.set_regions(())

    def open_slide(self) -> None:
        from napari_cmrcnet.viewer.slide_layer import slide_layer

        levels, settings, _ = slide_layer(self.pick(self.known.values()).section.slide, 0.5)
        self.viewer.add_image(levels, **settings)

    def own_layer(self) -> None:
        self.viewer.add_points([[1, 1]], name="mine", scale=(0.5, 0.5), units=("um", "um"))

    def choose_plot(self) -> None:
        which = self.panels["Plots"].which
        which.setCurrentIndex(self.rng.integers(which.count()))

    def score(self) -> None:
        """Let the scores of the prediction be done."""
        scores = self.scores.get(self.session.prediction.name)  # type: ignore[union-attr]
        if scores is not None:
            self.session.set_scores(scores)


def ours(layers: SectionLayers, layer: Any) -> bool:
    return any(layer == one for one in (*layers.points.values(), *layers.slides.values()))


@pytest.mark.parametrize("seed", range(3))
def test_whatever_the_user_does_all_is_of_one_prediction(known: dict[str, Known], seed: int) -> None:
    user = User(ViewerModel(), known, seed)
    done: list[str] = []
    for _ in range(STEPS):
        done.append(user.act())
        try:
            check(user.viewer)
        except AssertionError as error:
            raise AssertionError(f"after {' > '.join(done[-12:])}: {error}") from error
    assert user.refused > 2
    assert len(set(done)) > 15


@pytest.mark.qt("pyside6")
def test_so_it_is_with_a_window_and_its_panels(napari_window: Any, known: dict[str, Known]) -> None:
    viewer = napari_window
    panels = {
        name: viewer.window.add_plugin_dock_widget("napari-cmrcnet", name, tabify=name not in ("Plots", "Evidence"))[1]
        for name in ("Plots", "Evidence", "Genes", "View", "Regions", "Export")
    }
    user = User(viewer, known, 99)
    user.panels, user.scores = panels, {"C": score(known["C"].prediction)}
    user.predict()
    for _ in range(40):
        done = user.act()
        QApplication.processEvents()
        try:
            check(viewer)
            check_panels(viewer, panels)
        except AssertionError as error:
            raise AssertionError(f"after {done}: {error}") from error
    user.session.look_at(None)
