"""What one gene costs in a window: from the key press to new colours in three layers, and the title.

usage: python benchmarks/gene_view.py [--spots 5000] [--bank 45000] [--genes 36000] [--k 50] [--rounds 30]

Needs a screen (``xvfb-run -a`` where there is none). In turn in one window: a gene is shown, and the three layers get
the same columns by napari's ``features =`` alone, which is what any plugin must pay. Time within napari's own setters
(features, limits, name, title) is counted apart: what is left is our own work. Drawing is not counted. Prints
milliseconds and the ratio of the medians; a line of JSON last.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

os.environ.setdefault("NAPARI_CONFIG", os.path.join(tempfile.mkdtemp(), "settings.yaml"))

import napari
import numpy as np
from gene_switch import random_prediction
from napari.components.overlays import TextOverlay
from napari.layers import Points
from napari.layers.base import Layer

from napari_cmrcnet.viewer.registry import layers_of, session_of

VIEWS = ("measured", "predicted", "difference")


class Clock:
    """Adds up the time within napari's setters."""

    def __init__(self) -> None:
        self.seconds, self._depth = 0.0, 0

    def around(self, setter: Callable[..., Any]) -> Callable[..., Any]:
        """Return a setter whose time is counted; what it sets off in other setters is counted once."""

        def timed(*values: Any) -> Any:
            start, self._depth = time.perf_counter(), self._depth + 1
            try:
                return setter(*values)
            finally:
                self._depth -= 1
                if self._depth == 0:
                    self.seconds += time.perf_counter() - start

        return timed


@contextmanager
def napari_timed(clock: Clock) -> Any:
    """Count the time within the setters that a gene switch uses."""
    with ExitStack() as stack:
        for kind, name in ((Points, "features"), (Points, "face_contrast_limits"), (Layer, "name")):
            own = vars(kind)[name]
            stack.enter_context(patch.object(kind, name, property(own.fget, clock.around(own.fset))))
        stack.enter_context(patch.object(TextOverlay, "__setattr__", clock.around(TextOverlay.__setattr__)))
        yield


def main() -> None:
    """Run the rounds and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spots", type=int, default=5_000)
    parser.add_argument("--bank", type=int, default=45_000)
    parser.add_argument("--genes", type=int, default=36_000)
    parser.add_argument("--k", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    prediction = random_prediction(options.spots, options.bank, options.genes, options.k)
    side = int(np.ceil(np.sqrt(options.spots)))
    rows, columns = np.divmod(np.arange(options.spots), side)
    prediction.spots.obsm["spatial"] = np.column_stack([columns, rows]) * 200.0
    prediction.spots.uns["spatial"] = {"B": {"scalefactors": {"spot_diameter_fullres": 110.0}}}
    viewer = napari.Viewer()
    session, layers = session_of(viewer), layers_of(viewer)
    session.set_prediction(prediction)
    session.set_look(views=VIEWS)
    clock = Clock()
    milliseconds: dict[str, list[float]] = {"show a gene": [], "our own work": [], "features = alone": []}
    genes = np.random.default_rng(1).integers(options.genes, size=options.rounds + 2)
    with napari_timed(clock):
        for gene in genes:
            clock.seconds, start = 0.0, time.perf_counter()
            session.show(prediction.genes[gene])
            whole, within = time.perf_counter() - start, clock.seconds
            assert session.shown is not None
            np.testing.assert_array_equal(layers.points["predicted"].features["value"], session.shown.predicted)
            columns_of = {view: dict(layers.points[view].features) for view in VIEWS}
            start = time.perf_counter()
            for view in VIEWS:
                layers.points[view].features = columns_of[view]
            alone = time.perf_counter() - start
            for name, taken in zip(milliseconds, (whole, whole - within, alone), strict=True):
                milliseconds[name].append(1e3 * taken)
    medians = {}
    for name, taken in milliseconds.items():
        warm = taken[2:]  # the first rounds are a warm-up
        medians[name] = statistics.median(warm)
        print(f"{name:17} min {min(warm):8.2f} ms   median {medians[name]:8.2f} ms   max {max(warm):8.2f} ms")
    ratio = medians["show a gene"] / medians["features = alone"]
    print(f"show a gene / features = alone: {ratio:.2f}")
    sizes = {"spots": options.spots, "bank": options.bank, "genes": options.genes, "k": options.k}
    rounded = {f"{name.replace(' ', '_')}_ms": round(median, 2) for name, median in medians.items()}
    print(json.dumps({"benchmark": "gene_view", **sizes, **rounded, "ratio": round(ratio, 3)}))
    viewer.close()


if __name__ == "__main__":
    main()
