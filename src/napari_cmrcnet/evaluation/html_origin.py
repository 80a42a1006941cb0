"""The last parts of an HTML report: confidence, how a prediction was made, and with which versions."""

from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_cmrcnet.evaluation.gene_figure import RESEARCH_USE
from napari_cmrcnet.evaluation.html_page import element, pairs, table

if TYPE_CHECKING:
    from napari_cmrcnet.retrieval.prediction import Prediction

_TRUST = {
    "mean_similarity": "mean similarity to its training spots (cosine)",
    "best_similarity": "similarity to the nearest of them (cosine)",
    "sections": "sections among them",
}


def confidence_parts(prediction: "Prediction") -> Iterator[str]:
    """Yield how similar the spots are to the training spots, and how many are unlike them."""
    confidence = prediction.confidence()
    if prediction.provenance.external:
        return
    yield element("h2", "Confidence")
    yield table(
        ["of a spot", "5th percentile", "median", "95th percentile"],
        [
            [said, *(float(value) for value in np.percentile(confidence[name], [5, 50, 95]))]
            for name, said in _TRUST.items()
        ],
    )
    if (unlike := prediction.out_of_distribution()) is not None:
        yield element(
            "p",
            f"{int(unlike.sum()):,} of {len(unlike):,} spots are unlike the training tissue (out of distribution): "
            "their best similarity is below the 1st percentile of that of the training spots. Their values are "
            "unreliable.",
        )


def origin_parts(prediction: "Prediction") -> Iterator[str]:
    """Yield what was run on what."""
    about = prediction.provenance
    yield element("h2", "How the prediction was made")
    yield pairs(
        {
            "section": about.section,
            "patient": about.patient or "not known",
            "slide": Path(about.slide).name,
            "spots": Path(about.spots).name,
            "tissue": about.likeness.reason if about.likeness else "not known whether it is like the training tissue",
            "pixel size": f"{about.mpp:.4g} µm, from {about.mpp_source}" if about.mpp else "not known",
            "checkpoint": Path(about.checkpoint).name,
            "SHA-256 of its card": about.checkpoint_digest,
            "trained on": about.trained_on,
            "epoch chosen by": about.validated_on,
            "a value": f"the {about.average}",
            "counts a spot at least": about.min_umi,
            "predicted": f"{about.date}, on {about.device} in {about.precision}" if about.device else about.date,
        }
    )


def closing_parts(predictions: "Sequence[Prediction]") -> Iterator[str]:
    """Yield versions, the method, and what the report is for."""
    about = predictions[0].provenance
    yield element("h2", "Versions")
    yield pairs({"napari-cmrcnet, of this report": version("napari-cmrcnet"), **about.packages})
    yield element(
        "p",
        "Method: Liu, Eckstein, Wang, Feuerhake, Merhof: Spatial transcriptomics expression prediction from "
        "histopathology based on cross-modal mask reconstruction and contrastive learning, Medical Image Analysis "
        "108, 103889 (2025).",
        "quiet",
    )
    yield element("div", RESEARCH_USE, "banner")
