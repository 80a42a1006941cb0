"""Make the guide's pictures, of the synthetic sample in a real napari window.

usage: python docs/make_screenshots.py [NAME ...]

Needs a screen (``xvfb-run -a -s "-screen 0 1600x1200x24"`` where there is none). Writes docs/images/guide-NAME.png, all
of them or those that are named. Settings and caches of the user are left alone.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ["CMRCNET_CONFIG"] = os.environ["CMRCNET_CACHE"] = os.environ["CMRCNET_MODELS"] = tempfile.mkdtemp()
os.environ["NAPARI_CONFIG"] = os.path.join(os.environ["CMRCNET_CONFIG"], "napari.yaml")

import napari
import numpy as np
import shapely
from PIL import Image
from qtpy.QtWidgets import QApplication, QDialog, QDockWidget

from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.common.sample import sample_folder
from napari_cmrcnet.retrieval.project import Project, ProjectCase, write_project
from napari_cmrcnet.sections.regions import Region
from napari_cmrcnet.synthetic.simulate import simulate
from napari_cmrcnet.viewer.registry import layers_of, session_of
from napari_cmrcnet.widgets import dialogs, review

IMAGES = Path(__file__).resolve().parent / "images"
PLUGIN = "napari-cmrcnet"
WINDOW = (1360, 800)
HIGH = (1360, 1060)  # of four views: the title stays off the sections, and colour bars cover less of them
PANEL = (420, 700)  # of a panel by itself
PATIENCE = 300.0  # seconds to wait for work in the background


class Guide:
    """A window with the predicted sample, for one of the pictures, each a method ``take_NAME``."""

    def __init__(self) -> None:
        os.chdir(sample_folder())  # for file names without a path
        self.viewer = napari.Viewer()
        self.viewer.window.resize(*WINDOW)
        self.session, self.layers = session_of(self.viewer), layers_of(self.viewer)
        self.panels: dict[str, Any] = {}
        self.viewer.open_sample(PLUGIN, "synthetic")
        self.wait(lambda: self.session.scores is not None and not np.isnan(self.session.scores.table["low"]).all())

    def wait(self, done: Callable[[], bool]) -> None:
        """Let the window work until something is done."""
        end = time.monotonic() + PATIENCE
        while not done():
            if time.monotonic() > end:
                raise TimeoutError("the window has not done what the picture needs")
            self.settle(0.05)

    def settle(self, seconds: float = 1.0) -> None:
        """Let the window draw."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            QApplication.processEvents()
            time.sleep(0.01)

    def panel(self, name: str) -> Any:
        """Return a panel, alone at the right of the window."""
        for title in list(self.viewer.window.dock_widgets):
            if PLUGIN in str(title):
                self.viewer.window.remove_dock_widget(self.viewer.window.dock_widgets[title])
        _, panel = self.viewer.window.add_plugin_dock_widget(PLUGIN, name)
        panel.setMinimumWidth(380)
        self.settle()
        return panel

    def show(self, **display: Any) -> None:
        """Change how expression is drawn, and zoom to the whole section."""
        self.session.set_display(**display)
        self.settle()
        self.layers.groups.fit()
        self.settle()

    def window(self, name: str) -> None:
        """Take a picture of the window."""
        self.settle()
        pixels = self.viewer.screenshot(canvas_only=False, flash=False)
        Image.fromarray(pixels[..., :3]).save(IMAGES / f"guide-{name}.png", optimize=True)

    def alone(self, name: str, panel: Any) -> None:
        """Take a picture of a panel by itself."""
        dock = panel
        while not isinstance(dock, QDockWidget):
            dock = dock.parent()
        dock.setFloating(True)
        dock.resize(*PANEL)
        self.settle()
        panel.grab().save(str(IMAGES / f"guide-{name}.png"))
        dock.setFloating(False)

    def take_sample(self) -> None:
        """Take the window as it is after File > Open Sample."""
        self.layers.groups.fit()
        self.window("sample")

    def take_view(self) -> None:
        """Take measured beside predicted, with the View panel."""
        self.panel("View")
        self.show(layout="side by side", views=("measured", "predicted"))
        self.window("view")

    def take_predict(self) -> None:
        """Take the Predict panel with all choices made."""
        panel = self.panel("Predict")
        panel.form.choose(Path("S4.tif"), Path("S4.h5ad"))
        panel.form.checkpoint.set_path("sample.cmrcnet")
        self.wait(panel.run.isEnabled)
        self.alone("predict", panel)

    def take_get_a_model(self) -> None:
        """Take the dialog that lists models, as it is for a new user."""
        panel = self.panel("Predict")
        panel.form.get_model.click()
        dialog = panel.findChild(QDialog)
        self.settle()
        dialog.grab().save(str(IMAGES / "guide-get-a-model.png"))
        dialog.hide()

    def take_genes(self) -> None:
        """Take the list of genes."""
        self.alone("genes", self.panel("Genes"))

    def take_evidence(self) -> None:
        """Take the evidence of the spot with the highest predicted value."""
        panel = self.panel("Evidence")
        shown = self.session.shown
        assert shown is not None
        self.session.select([int(shown.predicted.argmax())])
        self.wait(lambda: not panel.jobs.busy)
        self.settle(2.0)
        self.alone("evidence", panel)

    def take_regions(self) -> None:
        """Take two regions and their table."""
        prediction = self.session.prediction
        assert prediction is not None
        self.panel("Regions")
        low, size = prediction.xy.min(axis=0), np.ptp(prediction.xy, axis=0)
        outlines = (("nest", "Tumour", (0.46, 0.26)), ("septum", "Stroma", (0.31, 0.59)))
        self.session.set_regions(
            Region(name, kind, shapely.Point(low + size * place).buffer(0.13 * size[0], quad_segs=3))
            for name, kind, place in outlines
        )
        self.show()
        self.window("regions")

    def take_plots(self) -> None:
        """Take the plot of predicted against measured."""
        panel = self.panel("Plots")
        self.wait(lambda: not panel.jobs.busy)
        self.show()
        self.window("plots")

    def take_look(self) -> None:
        """Take a measured section that was opened without a checkpoint, with its list of genes."""
        self.viewer.open("S4.h5ad", plugin=PLUGIN)
        self.wait(lambda: self.session.prediction is None and self.session.shown is not None)
        self.panel("Genes")
        self.show()
        self.window("look")

    def take_threshold(self) -> None:
        """Take the spots above Otsu's threshold, with the histogram."""
        panel = self.panel("Threshold")
        panel.hide_others.click()
        self.show()
        self.window("threshold")

    def take_compare(self) -> None:
        """Take the genes that are like the shown one."""
        panel = self.panel("Compare")
        panel.compute.click()
        self.wait(lambda: not panel.jobs.busy and panel.model.rowCount())
        self.alone("compare", panel)

    def take_cases(self) -> None:
        """Take a list of three cases: the prediction, the section as it was measured, and a slide alone."""
        prediction, folder = self.session.prediction, Path(tempfile.mkdtemp())
        assert prediction is not None
        prediction.save(folder / "S4.h5ad")
        case = ProjectCase.of(prediction)
        measured = replace(case, name="S4 as measured", prediction="", model="")
        alone = ProjectCase("another slide", slide=case.slide)
        write_project(Project((case, measured, alone), folder / "study.cmrproj"))
        panel = self.panel("Cases")
        panel.open(folder / "study.cmrproj")
        self.wait(lambda: panel.cases.row == 0 and self.session.scores is not None and not self.session.scoring)
        self.panel("Cases")
        self.show()
        self.window("cases")

    def two_cases(self) -> Any:
        """Open a list of the sample and of a smaller section of another patient, and return the Cases panel."""
        from napari_cmrcnet.retrieval.checkpoint import Checkpoint
        from napari_cmrcnet.retrieval.predict import predict
        from napari_cmrcnet.sections.section import open_section

        first, folder = self.session.prediction, Path(tempfile.mkdtemp())
        assert first is not None
        finish(simulate(folder, n_sections=1, seed=11, spots=150))
        section = open_section(folder / "S1.tif", folder / "S1.h5ad", name="S5", patient="synthetic 5")
        with section.slide:
            second = finish(predict(section, Checkpoint.load(sample_folder() / "sample.cmrcnet")))
        for prediction in (first, second):
            prediction.save(folder / f"{prediction.name}_predicted.h5ad")
        write_project(Project(tuple(map(ProjectCase.of, (first, second))), folder / "study.cmrproj"))
        panel = self.panel("Cases")
        panel.open(folder / "study.cmrproj")
        self.wait(lambda: panel.cases.row == 0 and self.session.scores is not None and not self.session.scoring)
        self.wait(lambda: not panel.jobs.busy)
        return self.panel("Cases")

    def take_beside(self) -> None:
        """Take two cases beside each other."""
        panel = self.two_cases()
        dialogs.choose_one = lambda *words: words[-1][0]
        panel.beside.click()
        self.wait(lambda: self.layers.beside.case is not None)
        self.show()
        self.window("beside")

    def take_cohort(self) -> None:
        """Take a gene over two cases."""
        self.two_cases()
        panel = self.panel("Cohort")
        panel.compute.click()
        self.wait(lambda: not panel.jobs.busy and not panel.table.empty)
        self.alone("cohort", panel)

    def take_blend(self) -> None:
        """Take two genes as colours."""
        self.session.tick(("KRT8", "COL1A1"))
        self.panel("Genes").filter.setCurrentText("Ticked genes")
        self.show(blend=True)
        self.window("blend")

    def take_swipe(self) -> None:
        """Take measured left of the line and predicted right of it."""
        self.panel("View")
        self.show(layout="swipe")
        self.window("swipe")

    def take_review(self) -> None:
        """Take the window of a blinded review with its first map."""
        panel, answers = self.panel("Review"), Path(tempfile.mkdtemp()) / "S4_review.csv"
        review.ask_where_to_save = lambda *_: answers
        review.secrets.randbelow = lambda _: 3  # the same map whenever the picture is made
        panel.start.click()
        dialog = panel.window_of_maps
        dialog.resize(900, 700)
        self.settle(3.0)
        dialog.grab().save(str(IMAGES / "guide-review.png"))
        dialog.reject()

    def take_local_pcc(self) -> None:
        """Take predicted beside where the gene is predicted well."""
        self.panel("View")
        self.show(layout="side by side", views=("predicted", "local PCC"))
        self.window("local-pcc")

    def take_export(self) -> None:
        """Take the Export panel."""
        self.alone("export", self.panel("Export"))

    def take_views(self) -> None:
        """Take all four views."""
        self.viewer.window.resize(*HIGH)
        self.panel("View")
        self.show(layout="side by side", views=("measured", "predicted", "difference", "confidence"))
        self.window("four-views")


def main() -> None:
    """Take the pictures."""
    names = [name.removeprefix("take_") for name in vars(Guide) if name.startswith("take_")]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*names, []], help="which pictures; all by default")
    chosen = parser.parse_args().names or names
    for name in chosen:
        guide = Guide()  # a window each, so that no picture has layers of the one before
        getattr(guide, f"take_{name}")()
        guide.viewer.close()


if __name__ == "__main__":
    main()
