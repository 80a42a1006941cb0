"""See which genes an H&E slide expresses: spatial gene expression by cross-modal retrieval."""

from typing import Any

_PUBLIC = {
    "Checkpoint": "retrieval.checkpoint",
    "FitConfig": "training.config",
    "PredictConfig": "retrieval.predict_config",
    "Prediction": "retrieval.prediction",
    "Progress": "common.progress",
    "Section": "sections.section",
    "Slide": "slides.slide",
    "UserError": "common.errors",
    "evaluate": "evaluation.report",
    "finish": "common.progress",
    "fit": "training.fit",
    "load_panel": "sections.panels",
    "open_section": "sections.section",
    "open_slide": "slides.slide",
    "open_spots": "sections.spots",
    "predict": "retrieval.predict",
    "read_sheet": "sections.sheet",
    "simulate": "synthetic.simulate",
}

__all__ = [*_PUBLIC, "__version__"]


def __getattr__(name: str) -> Any:
    # Loaded on first use (PEP 562): torch and scanpy take seconds to import, and napari imports every plugin's package.
    if name == "__version__":
        from importlib.metadata import version

        return version("napari-cmrcnet")
    if name in _PUBLIC:
        from importlib import import_module

        return getattr(import_module(f"napari_cmrcnet.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module 'napari_cmrcnet' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
