"""A prediction as a table for another program, or all of it in one file with the commands that make it again."""

import os
import shlex
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import ZIP_DEFLATED, ZipFile

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.files import atomic_file, check_output, is_there, scratch_folder
from napari_cmrcnet.common.progress import Job, Progress
from napari_cmrcnet.evaluation.headline import RESEARCH_USE
from napari_cmrcnet.evaluation.picture_file import file_name
from napari_cmrcnet.sections.panels import PANELS

if TYPE_CHECKING:
    from napari_cmrcnet.retrieval.prediction import Prediction

TABLES = (".csv", ".h5ad", ".geojson")
EXPORTS = (*TABLES, ".zip")
COMMANDS = "commands.txt"


def write_table(prediction: "Prediction", path: str | os.PathLike[str]) -> Job[Path]:
    """Write the genes that a saved prediction stores as a table, of the kind that the path's ending says.

    Parameters
    ----------
    prediction : Prediction
        What to write.
    path : path
        Ends in one of `TABLES`: see `to_csv`, `to_h5ad` and `to_geojson`.

    Raises
    ------
    UserError
        If it ends otherwise, or cannot be written.
    """
    from napari_cmrcnet.retrieval.export import to_csv, to_geojson
    from napari_cmrcnet.retrieval.export_tables import to_h5ad
    from napari_cmrcnet.retrieval.prediction_file import genes_to_store
    from napari_cmrcnet.sections.region_origin import qupath_corner
    from napari_cmrcnet.slides.slide import open_slide

    path = Path(path)
    check_export(path, TABLES)
    yield Progress("Choosing genes", 0, 0)
    genes, source = genes_to_store(prediction), prediction.provenance.slide
    with ExitStack() as opened:
        slide = opened.enter_context(open_slide(source)) if source and is_there(source) else None
        match path.suffix.lower():
            case ".csv":
                return (yield from to_csv(prediction, path, genes))
            case ".h5ad":
                return (yield from to_h5ad(prediction, path, genes, slide=slide))
        corner = qupath_corner(None if slide is None else slide.bounds)
        return (yield from to_geojson(prediction, path, genes, corner))


def check_export(path: Path, endings: Sequence[str] = EXPORTS) -> None:
    """Refuse the name of an export that ends in none of some endings."""
    if path.suffix.lower() not in endings:
        raise UserError(f"{path} is not the name of an export; end it in {', '.join(TABLES)} or .zip.")


def write_bundle(prediction: "Prediction", path: str | os.PathLike[str]) -> Job[Path]:
    """Write all of a prediction as one ZIP.

    It holds the prediction, to open here again; the tables of `write_table`; the figure of its markers; the report; and
    ``commands.txt``: the versions, and the commands that make each file again.

    Parameters
    ----------
    prediction : Prediction
        Of one section, with the regions that are to be in the report in its ``view``.
    path : path
        The .zip file.

    Raises
    ------
    UserError
        If the regions cannot be read, or the file cannot be written.
    """
    from napari_cmrcnet.evaluation.html_report import write_html_report
    from napari_cmrcnet.evaluation.maps_figure import write_maps_figure
    from napari_cmrcnet.sections.geojson import regions_in

    name, panel = file_name(prediction.name), prediction.panel
    saved = f"{name}_predicted.h5ad"
    regions = regions_in(prediction.view.get("regions", []), prediction.name)
    made: dict[str, tuple[str, Callable[[Path], Job[Path]]]] = {
        f"{name}{ending}": ("export", lambda out: write_table(prediction, out)) for ending in TABLES
    }
    if panel is not None and prediction.names.known(panel.genes):
        made[f"{name}_markers.pdf"] = ("figure", lambda out: write_maps_figure(prediction, out, panel))
    made[f"{name}_report.html"] = ("report", lambda out: write_html_report(prediction, out, regions=regions))
    path = Path(path)
    check_output(path)
    with scratch_folder(path) as folder:  # beside it, as the h5ad says where the slide is from there
        prediction.save(folder / saved)
        for file, (_, write) in made.items():
            yield from write(folder / file)
        commands = [["napari-cmrcnet", command, saved, "--out", file] for file, (command, _) in made.items()]
        (folder / COMMANDS).write_text(_in_words(prediction, saved, [shlex.join(line) for line in commands]), "utf-8")
        yield Progress(f"Writing {path.name}", 0, 0)
        with atomic_file(path) as part, ZipFile(part, "w", ZIP_DEFLATED) as packed:
            for file in (saved, *made, COMMANDS):
                packed.write(folder / file, file)
    return path


def _in_words(prediction: "Prediction", saved: str, commands: list[str]) -> str:
    about = prediction.provenance
    lines = [f"Section {prediction.name}, predicted {about.date}. {RESEARCH_USE}", ""]
    if made_by := _predicted_by(prediction, saved):
        lines += ["This command made the prediction, on a computer with these paths:", "", made_by, ""]
    lines += ["In this folder, these commands make the other files again:", "", *commands, "", "Versions:", ""]
    versions = {"napari-cmrcnet, of these files": version("napari-cmrcnet"), **about.packages}
    return "\n".join([*lines, *(f"{package} {number}" for package, number in versions.items()), ""])


def _predicted_by(prediction: "Prediction", saved: str) -> str:
    """Return the command that predicted, "" where another tool did or the spots are a grid, which no file holds."""
    about = prediction.provenance
    if about.external or not (about.checkpoint and about.slide and about.spots):
        return ""
    given = {
        "checkpoint": about.checkpoint,
        "slide": about.slide,
        "spots": about.spots,
        "library": about.library,
        "pool": about.pool,
        "patient": about.patient,
        "panel": next((key for key, panel in PANELS.items() if panel == about.panel), ""),
        "k": about.k,
        "min-umi": about.min_umi,
        "mpp": about.mpp,
        "precision": about.precision,
    }
    options = [f"--{name}={value}" for name, value in given.items() if value not in ("", 0)]
    return shlex.join(["napari-cmrcnet", "predict", *options, "--out", saved])
