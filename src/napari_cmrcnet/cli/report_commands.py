"""``report``, ``figure`` and ``export``: what is read and printed of predictions, measured or not."""

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from napari_cmrcnet.cli.console import say, show_json, show_progress, warn
from napari_cmrcnet.cli.shared import check_panel, panel_named
from napari_cmrcnet.common.errors import UserError

if TYPE_CHECKING:
    from napari_cmrcnet.common.progress import Job
    from napari_cmrcnet.retrieval.prediction import Prediction
    from napari_cmrcnet.sections.regions import Region

_INSTEAD = "Write an .html, and print that to PDF in a browser."
_NO_QT = f"Qt, which prints the PDF, is not installed: pip install 'napari-cmrcnet[napari]'. {_INSTEAD}"


def report(options: argparse.Namespace) -> None:
    """Write the report of one or several predictions, as HTML or PDF."""
    from napari_cmrcnet.evaluation.document import html_or_pdf
    from napari_cmrcnet.evaluation.html_report import write_html_report

    ending = options.out.suffix.lower()
    if ending not in (".html", ".pdf"):
        raise UserError(f"{options.out} is not the name of a report; end it in .html or .pdf.")
    if ending == ".pdf" and not any(map(find_spec, ("PySide6", "PyQt6"))):
        raise UserError(_NO_QT)
    predictions = _loaded(options.predictions, options)
    panel = panel_named(options.panel)
    for prediction in predictions:
        check_panel(prediction.names, panel, prediction.name)
    if len(predictions) == 1:
        (one,) = predictions
        write: Callable[[Path], Job[Path]] = partial(write_html_report, one, panel=panel, regions=_regions(one))
    else:
        from napari_cmrcnet.evaluation.html_cohort import write_cohort_report

        write = partial(write_cohort_report, predictions, panel=panel)
    path = show_progress(html_or_pdf(write, options.out, _print_pdf))
    say(str(path))
    show_json({"report": path, "sections": [prediction.name for prediction in predictions]})


def _print_pdf(html: Path, path: Path) -> None:
    """Print a page as the window does, in a process of its own: there is no Qt in this one."""
    command = [sys.executable, "-m", "napari_cmrcnet.widgets.report_pdf", str(html), str(path)]
    unseen = os.environ | {"QT_QPA_PLATFORM": "offscreen"}
    result = subprocess.run(command, env=unseen, capture_output=True, check=False)
    if result.returncode:
        *_, why = result.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {result.returncode}"]
        raise UserError(f"Qt could not print the PDF ({why}). {_INSTEAD}")


def figure(options: argparse.Namespace) -> None:
    """Draw the maps of a panel."""
    from napari_cmrcnet.evaluation.maps_figure import write_maps_figure
    from napari_cmrcnet.evaluation.picture_file import kind_of
    from napari_cmrcnet.sections.panels import Panel

    kind_of(options.out)
    (prediction,) = _loaded([options.prediction], options)
    if options.blend:
        genes = options.blend.split(",")
        prediction.names.columns(genes, prediction.name)  # all are needed, while a panel may lack some
        panel: Panel | None = Panel(options.blend, tuple(genes))
    else:
        panel = panel_named(options.panel) or prediction.panel
    if panel is None:
        raise UserError(f"{options.prediction} has no gene panel; give --panel a name, such as idc, or a file.")
    check_panel(prediction.names, panel, prediction.name)
    job = write_maps_figure(prediction, options.out, panel, blend=bool(options.blend), width_mm=options.width_mm)
    path = show_progress(job)
    say(str(path))
    show_json({"figure": path})


def export(options: argparse.Namespace) -> None:
    """Write a prediction for other programs, or all of it."""
    from napari_cmrcnet.evaluation.bundle import check_export, write_bundle, write_table

    check_export(options.out)
    (prediction,) = _loaded([options.prediction], options)
    write = write_bundle if options.out.suffix.lower() == ".zip" else write_table
    path = show_progress(write(prediction, options.out))
    say(str(path))
    show_json({"export": path})


def _loaded(paths: list[Path], options: argparse.Namespace) -> "list[Prediction]":
    from napari_cmrcnet.retrieval.checkpoint import Checkpoint
    from napari_cmrcnet.retrieval.prediction import Prediction

    checkpoint = Checkpoint.load(options.checkpoint) if options.checkpoint else None
    predictions = [Prediction.load(path, checkpoint) for path in paths]
    for prediction in predictions:
        prediction.provenance.check_output(options.out)
    return predictions


def _regions(prediction: "Prediction") -> "tuple[Region, ...]":
    from napari_cmrcnet.sections.geojson import regions_in

    try:
        return regions_in(prediction.view.get("regions", []), prediction.name)
    except UserError as error:
        warn(str(error))
        return ()
