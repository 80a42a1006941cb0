"""See which genes an H&E slide expresses: spatial gene expression by cross-modal retrieval."""

from typing import Any

# Where the public names are. Within the package long work is a generator of `Progress`; here it is run to its end.
_JOBS = {
    "evaluate": "evaluation.report",
    "fit": "training.fit",
    "predict": "retrieval.predict",
    "simulate": "synthetic.simulate",
}
_NAMES = {
    "Checkpoint": "retrieval.checkpoint",
    "FitConfig": "training.config",
    "PredictConfig": "retrieval.predict_config",
    "Prediction": "retrieval.prediction",
    "Progress": "common.progress",
    "Section": "sections.section",
    "Slide": "slides.slide",
    "UserError": "common.errors",
    "load_panel": "sections.panels",
    "open_section": "sections.section",
    "open_slide": "slides.slide",
    "open_spots": "sections.spots",
    "read_sheet": "sections.sheet",
    "sample_folder": "common.sample",
}

__all__ = [*_JOBS, *_NAMES, "__version__"]


def __getattr__(name: str) -> Any:
    # Loaded on first use (PEP 562): torch and scanpy take seconds to import, and napari imports every plugin's package.
    if name == "__version__":
        from importlib.metadata import version

        return version("napari-cmrcnet")
    if place := _JOBS.get(name) or _NAMES.get(name):
        from importlib import import_module

        found = getattr(import_module(f"napari_cmrcnet.{place}"), name)
        if name in _JOBS:
            from napari_cmrcnet.common.progress import to_the_end

            found = to_the_end(found)
        globals()[name] = found  # the same one whenever it is asked for
        return found
    raise AttributeError(f"module 'napari_cmrcnet' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
