"""predict(): a section and a checkpoint in, a Prediction out."""

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from napari_cmrcnet.common.device import choose_device, choose_precision
from napari_cmrcnet.common.progress import Job, Progress
from napari_cmrcnet.retrieval.averages import Float32, Int32, neighbour_weights
from napari_cmrcnet.retrieval.bank import Bank
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.retrieval.compatibility import check_genes, totals_in_common
from napari_cmrcnet.retrieval.likeness import LIKE
from napari_cmrcnet.retrieval.predict_config import PredictConfig
from napari_cmrcnet.retrieval.prediction import Prediction
from napari_cmrcnet.retrieval.preflight import Check, amber_notes, preflight_job, warnings_in
from napari_cmrcnet.retrieval.provenance import Provenance
from napari_cmrcnet.retrieval.queries import queries_of
from napari_cmrcnet.retrieval.search import nearest_job
from napari_cmrcnet.retrieval.tissue import likeness_of
from napari_cmrcnet.sections.section import Section
from napari_cmrcnet.sections.totals import total_genes, totalled_over

logger = logging.getLogger(__name__)


def predict(
    section: Section,
    checkpoint: Checkpoint,
    config: PredictConfig | None = None,
    *,
    checks: Sequence[Check] | None = None,
) -> Job[Prediction]:
    """Retrieve, for every spot of a section, the k bank spots whose gene embedding is nearest its patch.

    Parameters
    ----------
    section : Section
        Slide and spots; counts are not used, only kept for comparison.
    checkpoint : Checkpoint
        Its model is moved to the device.
    config : PredictConfig, optional
        How to predict; its defaults if not given.
    checks : sequence of Check, optional
        The results of `preflight`, if it was run before. If not given, it is run here, and its warnings are logged.
        The prediction keeps the warnings in its provenance.

    Raises
    ------
    UserError
        Before any work: if k is larger than the bank, the section shares no gene or almost none with it, or the device
        or the precision is not available. Later: if patches cannot be read, or there is not enough memory.
    """
    config = config or PredictConfig()
    bank, card = checkpoint.bank, checkpoint.card
    k = checkpoint.neighbours(config.k)
    check_genes(section, bank.names)
    device = choose_device(config.device)
    precision = choose_precision(device, config.precision)
    if checks is None:
        yield Progress("Checking that section and checkpoint fit", 0, 0)
        checks = yield from preflight_job(section, checkpoint, k)
        for warning in warnings_in(checks):
            logger.warning("%s: %s", section.name, warning)
    embeddings = yield from queries_of(
        section, checkpoint, device=device, precision=precision, batch_size=config.batch_size
    )
    likeness = yield from likeness_of(section, card.usual_tissue, checkpoint.encoder, device)
    unlike = (likeness.reason,) if likeness is not None and likeness.verdict != LIKE else ()
    neighbours, similarity = yield from nearest_job(
        embeddings, bank.embeddings, k, "Retrieving neighbours", str(device)
    )
    confidence = confidence_table(neighbours, similarity, bank, section.spots.obs_names, card.weight_temperature)
    common = totals_in_common(section, bank.summary)
    spots = section.spots if common is None else totalled_over(section.spots, common)
    warned, panel = amber_notes(section), config.panel or card.panel
    notes = [note for note in section.notes if note not in warned]
    about = Provenance.of(section.spots, section.slide, section.pixel_size, section.name, section.patient)
    provenance = replace(
        about,
        checkpoint=str(checkpoint.path.resolve()) if checkpoint.path else "",
        checkpoint_digest=checkpoint.digest,
        trained_on=card.sections,
        trained_on_patients=card.patients,
        validated_on=card.validated_on,
        k=k,
        panel=panel,
        weight_temperature=card.weight_temperature,
        similarity_floor=card.similarity_floor,
        expected_over=card.expected_over,
        notes=(*notes, *bank.names.on_panel(panel, "The checkpoint")),
        synthetic=card.synthetic or about.synthetic,
        device=str(device),
        precision=precision,
        total_genes=total_genes(spots) if section.counted else 0,
        warnings=(*warnings_in(checks), *unlike),
        likeness=likeness,
    )
    return Prediction(
        spots, neighbours, similarity, confidence, provenance, bank=bank, variable_genes=card.variable_genes
    )


def confidence_table(
    neighbours: Int32, similarity: Float32, bank: Bank, names: pd.Index, temperature: float | None = None
) -> pd.DataFrame:
    """Return how far each spot can be trusted, as `Prediction.confidence` has it, for neighbours weighted or not."""
    weights = neighbour_weights(similarity, temperature)
    sections = np.sort(pd.factorize(bank.obs["section"])[0][neighbours], axis=1)
    return pd.DataFrame(
        {
            "mean_similarity": np.average(similarity.astype(np.float64), axis=1, weights=weights).astype(np.float32),
            "best_similarity": similarity[:, 0],
            "sections": (1 + (np.diff(sections, axis=1) > 0).sum(axis=1)).astype(np.int32),
        },
        index=names,
    )
