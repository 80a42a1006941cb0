"""fit_frozen(): CMRCNet's two heads on the features of a frozen encoder, solved instead of trained step by step."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from scipy import sparse

from napari_cmrcnet.common.device import choose_device
from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import Job, Progress, in_turn
from napari_cmrcnet.common.text import count_text
from napari_cmrcnet.model.cmrcnet import FrozenCMRCNet
from napari_cmrcnet.model.frozen_encoders import encoder_named
from napari_cmrcnet.model.pretrained import Pretrained, fetched, with_weights
from napari_cmrcnet.retrieval.build_bank import build_bank
from napari_cmrcnet.retrieval.card import THUMBNAILS, Card
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.retrieval.encoder_entry import EncoderEntry, feature_settings, fields_of
from napari_cmrcnet.retrieval.frozen_features import spot_features
from napari_cmrcnet.retrieval.protocol import Query
from napari_cmrcnet.sections.expression import PAPER_GENES, expression_of, highly_variable_genes
from napari_cmrcnet.sections.section import Section
from napari_cmrcnet.sections.totals import target_of, total_genes
from napari_cmrcnet.slides.patch_cache import cache_key, patch_cache
from napari_cmrcnet.training.bank_evidence import training_thumbnails
from napari_cmrcnet.training.config import FitConfig
from napari_cmrcnet.training.data import LEAST_SPOTS, left_out, left_out_parts
from napari_cmrcnet.training.expected import expected_accuracy
from napari_cmrcnet.training.frozen_choice import Settings, choose, image_head
from napari_cmrcnet.training.reduced_rank import Spots, measured_components
from napari_cmrcnet.training.run_folder import RunFolder, describe
from napari_cmrcnet.training.usual_tissue import training_tissue


def fit_frozen(sections: Sequence[Section], config: FitConfig, run: RunFolder, resume: bool) -> Job[Checkpoint]:
    """Solve for the two heads of `FrozenCMRCNet`, and write a checkpoint.

    Patches and genes meet in the space of a reduced-rank ridge regression of expression on features: the image head
    predicts a spot's components, each over its deviation; the gene head projects its measured expression on them. A
    prediction is a retrieval as ever: the patch finds the training spots whose gene embedding is most similar. Rank,
    penalty, k and the weights of neighbours are chosen by leaving out each training section, or patient, in turn; see
    `left_out`. What is predicted for those left out gives each gene's expected accuracy, which the bank keeps. Nothing
    is drawn at random.

    Parameters
    ----------
    sections : sequence of Section
        As `fit` takes them, with one name for each gene.
    config : FitConfig
        Of the variant ``"frozen"``.
    run : RunFolder
        Where the checkpoint goes.
    resume : bool
        Return a finished checkpoint as it is.

    Raises
    ------
    UserError
        As `fit`.
    """
    count = sum(len(section.spots) for section in sections)
    if count < LEAST_SPOTS:
        raise UserError(
            f"{count_text(count, 'spot')} left to train on; at least {LEAST_SPOTS} are needed, preferably 1,000."
        )
    encoder = yield from _encoder(config)
    patch = fields_of(encoder.encoder)[0]
    variable = highly_variable_genes(sections)
    other = config.n_top_genes != PAPER_GENES
    genes = config.genes or tuple(highly_variable_genes(sections, config.n_top_genes) if other else variable)
    run.begin(describe(sections, config, [cache_key(section, patch) for section in sections], genes), resume)
    if run.out.exists():
        return Checkpoint.load(run.out)
    targets = [target_of(section.spots, config.preprocessing.target_sum) for section in sections]
    spots = yield from _spots(sections, genes, targets, encoder, config.device)
    numbers = np.repeat(np.arange(len(sections)), [len(section.spots) for section in sections])
    chosen = yield from choose(spots, numbers, left_out_parts(sections))
    model = yield from _model(spots, chosen.settings, config)
    del spots  # as large as the bank
    thumbnails = run.path / THUMBNAILS if config.thumbnails else None
    if thumbnails is not None:
        patches = yield from in_turn(patch_cache(section, patch) for section in sections)
        yield from training_thumbnails([(each, np.arange(len(each))) for each in patches], thumbnails)
    card = Card(
        model=model.config,
        genes=tuple(genes),
        sections=tuple(section.name for section in sections),
        patients=tuple(dict.fromkeys(section.patient for section in sections)),
        seed=config.seed,
        epochs=0,
        encoder=_entry(encoder),
        preprocessing=config.preprocessing,
        query=Query(k=chosen.settings.k, weighted=chosen.settings.temperature is not None),
        panel=config.panel,
        similarity_floor=chosen.floor,
        variable_genes=tuple(variable),
        total_genes={section.name: total_genes(section.spots) for section in sections},
        usual_tissue=(yield from training_tissue(sections, encoder, choose_device(config.device))),
        expected_over=left_out(sections),
        terms=(*([config.data] if config.data else []), encoder.encoder.terms),
        synthetic=any(section.origin.synthetic for section in sections),
    )
    bank = build_bank(model, sections, genes, target_sums=targets)
    if card.expected_over:
        expected, interval = yield from expected_accuracy(bank, sections, chosen.left_out)
        over_patients = card.expected_over == "patients"  # sections of one patient say nothing of another
        bank = replace(bank, expected=expected, interval=interval if over_patients else None)
    yield Progress("Saving the checkpoint", 0, 1)
    checkpoint = Checkpoint(card, model, bank, thumbnail_file=thumbnails, encoder=encoder).save(run.out)
    yield Progress("Saving the checkpoint", 1, 1)
    return checkpoint


def _encoder(config: FitConfig) -> Job[Pretrained]:
    """Return the encoder with its weights; those that are neither installed nor given are fetched."""
    encoder = encoder_named(config.encoder)
    if encoder.package or config.weights is not None:
        return with_weights(config.encoder, config.weights)
    yield Progress(f"Fetching the weights of {encoder.title}", 0, 0)
    return fetched(config.encoder)


def _entry(encoder: Pretrained) -> EncoderEntry:
    source = "" if encoder.encoder.may_be_stored else str(encoder.path)
    return EncoderEntry(encoder.encoder.name, encoder.weights, source, feature_settings(encoder.encoder))


def _spots(
    sections: Sequence[Section], genes: Sequence[str], targets: Sequence[float], encoder: Pretrained, device: str
) -> Job[Spots]:
    """Return the features and expression of all training spots, section after section."""
    chosen = choose_device(device)
    features = yield from in_turn(spot_features(section, encoder, chosen) for section in sections)
    expression = [
        expression_of(section.spots, genes, target) for section, target in zip(sections, targets, strict=True)
    ]
    return Spots(np.concatenate(features), sparse.vstack(expression, format="csr"))


def _model(spots: Spots, settings: Settings, config: FitConfig) -> Job[FrozenCMRCNet]:
    """Return the heads, filled up with components of zero to the length that an embedding must have."""
    fitted = yield from spots.fitted(settings.penalty, settings.rank)
    (components,) = yield from measured_components(spots.expression, [fitted])
    sizes = config.model_config(spots.expression.shape[1])
    temperature = sizes.temperature if settings.temperature is None else settings.temperature
    model = FrozenCMRCNet(replace(sizes, embedding_dim=settings.rank, temperature=temperature))
    heads = (
        (model.image_head, fitted.centre, image_head(fitted, components).T),
        (model.gene_head, fitted.mean, fitted.out),
    )
    with torch.no_grad():
        for head, centre, weight in heads:
            head.weight.zero_()[: len(weight)] = torch.from_numpy(weight)
            head.bias.copy_(-head.weight @ torch.from_numpy(centre).float())
    return model.eval()
