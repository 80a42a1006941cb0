"""fit_frozen(): CMRCNet's two heads on the features of a frozen encoder, solved instead of trained step by step."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from napari_cmrcnet.common.device import choose_device
from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.metrics import TOP, mean_pcc, pcc
from napari_cmrcnet.common.progress import Job, Progress
from napari_cmrcnet.model.frozen import FrozenCMRCNet
from napari_cmrcnet.model.frozen_encoders import encoder_named
from napari_cmrcnet.model.pretrained import Pretrained, fetched, with_weights
from napari_cmrcnet.retrieval.averages import Neighbourhoods, neighbour_weights
from napari_cmrcnet.retrieval.build_bank import build_bank
from napari_cmrcnet.retrieval.card import THUMBNAILS, Card
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.retrieval.encoder_entry import EncoderEntry, feature_settings, fields_of
from napari_cmrcnet.retrieval.frozen_features import spot_features
from napari_cmrcnet.retrieval.protocol import Query
from napari_cmrcnet.retrieval.search import nearest
from napari_cmrcnet.retrieval.similarity_floor import PERCENTILE
from napari_cmrcnet.retrieval.thumbnails import write_thumbnails
from napari_cmrcnet.sections.expression import PAPER_GENES, expression_of, highly_variable_genes
from napari_cmrcnet.sections.section import Section
from napari_cmrcnet.sections.totals import target_of, total_genes
from napari_cmrcnet.slides.patch_cache import cache_key, patch_cache
from napari_cmrcnet.slides.patches import PatchSpec
from napari_cmrcnet.training.bank_evidence import training_colours
from napari_cmrcnet.training.config import FitConfig
from napari_cmrcnet.training.data import LEAST_SPOTS, Rows, left_out, left_out_parts
from napari_cmrcnet.training.expected import expected_accuracy
from napari_cmrcnet.training.reduced_rank import ReducedRank, reduced_rank_ridge
from napari_cmrcnet.training.run_folder import RunFolder, describe

Array = NDArray[np.float64]
Float32 = NDArray[np.float32]
Int32 = NDArray[np.int32]

RANKS = (8, 16, 32)
PENALTIES = (0.3, 1.0, 3.0)
ASKED = ((50, None), (200, 0.1), (200, 0.2), (500, 0.2))
"""Neighbours behind a value and the temperature of their weights; without one all count alike."""
CHOICES = {
    "ranks": list(RANKS),
    "penalties": list(PENALTIES),
    "asked": [list(one) for one in ASKED],
    "components": "over their deviation",
}
LEAST_DEVIATION = 1e-9  # of a component; one that does not vary says nothing
THUMBNAILS_A_STEP = 64


@dataclass(frozen=True)
class Settings:
    """What is chosen inside the training sections.

    Parameters
    ----------
    rank : int
        Components of the space in which patches and genes meet.
    penalty : float
        Of the ridge regression, a feature.
    k : int
        Neighbours behind a value.
    temperature : float or None
        Of their weights; None where all count alike.
    """

    rank: int = RANKS[0]
    penalty: float = PENALTIES[1]
    k: int = ASKED[0][0]
    temperature: float | None = None


def fit_frozen(sections: Sequence[Section], config: FitConfig, run: RunFolder, resume: bool) -> Job[Checkpoint]:
    """Solve for the two heads of `FrozenCMRCNet`, and write a checkpoint.

    Patches and genes meet in the space of a reduced-rank ridge regression of expression on features: the image head
    predicts a spot's components, each over its deviation; the gene head projects its measured expression on them. A
    prediction is a retrieval as ever: the patch finds the training spots whose gene embedding is most similar. Rank,
    penalty, k and the weights of neighbours are chosen by leaving out each training section, or patient, in turn; see
    `left_out`. What is predicted for those left out gives each gene's expected accuracy, which the bank keeps.

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

    Yields
    ------
    Progress
        Once a batch of patches encoded, once a section left out, and once a few hundred genes.

    Raises
    ------
    UserError
        As `fit`.
    """
    run.refuse_to_overwrite(resume)
    spots = sum(len(section.spots) for section in sections)
    if spots < LEAST_SPOTS:
        raise UserError(f"{spots} spots are left to train on; at least {LEAST_SPOTS} are needed, preferably 1,000.")
    encoder = yield from _encoder(config)
    patch = fields_of(encoder.encoder)[0]
    variable = highly_variable_genes(sections)
    other = config.n_top_genes != PAPER_GENES
    genes = config.genes or tuple(highly_variable_genes(sections, config.n_top_genes) if other else variable)
    run.begin(describe(sections, config, [cache_key(section, patch) for section in sections], genes), resume)
    if not run.out.exists():
        targets = [target_of(section.spots, config.preprocessing.target_sum) for section in sections]
        training = yield from _training(sections, genes, targets, encoder, config.device)
        parts = left_out_parts(sections)
        settings, inside, floor = yield from _chosen(training, parts, config.seed)
        yield Progress("Solving", 0, 1)
        model = _model(training, settings, config)
        yield Progress("Solving", 1, 1)
        thumbnails = run.path / THUMBNAILS if config.thumbnails else None
        if thumbnails is not None:
            yield from _write_thumbnails(sections, patch, thumbnails)
        card = Card(
            model=model.config,
            genes=tuple(genes),
            sections=tuple(section.name for section in sections),
            patients=tuple(dict.fromkeys(section.patient for section in sections)),
            seed=config.seed,
            epochs=0,
            encoder=_entry(encoder),
            preprocessing=config.preprocessing,
            query=Query(k=settings.k, weighted=settings.temperature is not None),
            panel=config.panel,
            similarity_floor=floor,
            variable_genes=tuple(variable),
            total_genes={section.name: total_genes(section.spots) for section in sections},
            section_colours=(yield from training_colours(sections)),
            expected_over=left_out(sections),
            synthetic=any(section.origin.synthetic for section in sections),
        )
        bank = build_bank(model, sections, genes, target_sums=targets)
        if card.expected_over:
            folds = (
                _retrieved(training, part, of_part, config.seed) for part, of_part in zip(parts, inside, strict=True)
            )
            bank = replace(bank, expected=(yield from expected_accuracy(bank, sections, folds)))
        Checkpoint(card, model, bank, thumbnail_file=thumbnails, encoder=encoder).save(run.out)
    run.tidy()
    return Checkpoint.load(run.out)


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


@dataclass(frozen=True, eq=False)
class _Training:
    """All training spots, section after section: features (n, f), expression (n, g), and the section's number (n,)."""

    features: Array
    expression: Array
    section: Rows

    def of(self, rows: Rows) -> "_Training":
        return _Training(self.features[rows], self.expression[rows], self.section[rows])

    def without(self, rows: Rows) -> "_Training":
        return self.of(np.setdiff1d(np.arange(len(self.features)), rows))

    def fitted(self, settings: Settings, seed: int) -> ReducedRank:
        return reduced_rank_ridge(self.features, self.expression, settings.penalty, [settings.rank], seed)[0]


def _training(
    sections: Sequence[Section], genes: Sequence[str], targets: Sequence[float], encoder: Pretrained, device: str
) -> Job[_Training]:
    features, chosen = [], choose_device(device)
    for section in sections:
        features.append((yield from spot_features(section, encoder, chosen)))
    expression = [
        expression_of(section.spots, genes, target).toarray() for section, target in zip(sections, targets, strict=True)
    ]
    numbers = np.repeat(np.arange(len(sections)), [len(section.spots) for section in sections])
    return _Training(
        np.concatenate(features).astype(np.float64), np.concatenate(expression).astype(np.float64), numbers
    )


def _chosen(
    training: _Training, parts: Sequence[Rows], seed: int
) -> Job[tuple[Settings, list[Settings], float | None]]:
    """Choose settings by the mean PCC of left-out parts.

    Returns
    -------
    Settings
        Those that are best on average over all parts.
    list of Settings
        For each part, those that are best over the other parts: its own score does not decide how it is predicted.
    float or None
        The similarity below which a spot is unlike the bank: the first percentile of the best similarity of left-out
        spots to the others' bank, see `similarity_floor`.
    """
    step = "Choosing on left-out sections"
    scores: dict[Settings, list[float]] = {}
    best: dict[Settings, list[Float32]] = {}
    for done, part in enumerate(parts):
        yield Progress(step, done, len(parts))
        held, others = training.of(part), training.without(part)
        for penalty in PENALTIES:
            fits = reduced_rank_ridge(others.features, others.expression, penalty, RANKS, seed)
            for rank, fitted in zip(RANKS, fits, strict=True):
                for settings, score, similarity in _scored(fitted, held, others, rank, penalty):
                    scores.setdefault(settings, []).append(score)
                    best.setdefault(settings, []).append(similarity)
    yield Progress(step, len(parts), len(parts))
    if not scores:
        return Settings(), [], None
    table = np.array(list(scores.values()))  # (settings, parts)
    names, total = list(scores), table.sum(axis=1)
    settings = names[int(total.argmax())]
    inside = [names[int((total - table[:, part]).argmax())] for part in range(len(parts))]
    return settings, inside, float(np.percentile(np.concatenate(best[settings]), PERCENTILE))


def _scored(
    fitted: ReducedRank, held: _Training, others: _Training, rank: int, penalty: float
) -> list[tuple[Settings, float, Float32]]:
    """Return, for each way to ask, the score of a part that was left out, and its spots' best similarity."""
    neighbours, similarity = _nearest(fitted, held, others, max(k for k, _ in ASKED))
    of_sections = [held.section == number for number in np.unique(held.section)]
    # Only these genes count in the score, so only these are averaged: 100 a section in place of thousands.
    genes = np.unique([_top_genes(held.expression[here]) for here in of_sections])
    measured, known = held.expression[:, genes], others.expression[:, genes]
    found = []
    for k, temperature in ASKED:
        near, alike = np.ascontiguousarray(neighbours[:, :k]), np.ascontiguousarray(similarity[:, :k])
        predicted = Neighbourhoods.of(near, len(known), neighbour_weights(alike, temperature)).mean(known)
        score = float(np.mean([_mean_pcc(measured[here], predicted[here]) for here in of_sections]))
        found.append((Settings(rank, penalty, k, temperature), score, similarity[:, 0]))
    return found


def _nearest(fitted: ReducedRank, held: _Training, others: _Training, k: int) -> tuple[Int32, Float32]:
    """Return the spots of the others that a part which was left out retrieves, and their similarities, (n, k) each."""
    queries = ((held.features - fitted.centre) @ _image_head(fitted, others.expression)).astype(np.float32)
    bank = fitted.measured(others.expression).astype(np.float32)
    return nearest(queries, bank, min(len(bank), k))


def _retrieved(training: _Training, part: Rows, settings: Settings, seed: int) -> tuple[Rows, Neighbourhoods]:
    """Return a part, and the training spots that it retrieves where the model is fitted without it."""
    held, others = training.of(part), training.without(part)
    near, alike = _nearest(others.fitted(settings, seed), held, others, settings.k)
    of_all = np.setdiff1d(np.arange(len(training.features)), part)[near].astype(np.int32)
    return part, Neighbourhoods.of(of_all, len(training.features), neighbour_weights(alike, settings.temperature))


def _mean_pcc(truth: Array, guess: Array) -> float:
    """Return the mean PCC of the genes highest in mean and of those highest in variance, 0 where it is undefined."""
    highest = _top_genes(truth)
    return float(np.mean([mean_pcc(pcc(truth[:, genes], guess[:, genes]), nan_as_zero=True) for genes in highest]))


def _top_genes(truth: Array) -> Rows:
    """Return the genes highest in mean and those highest in variance, (2, up to 50)."""
    return np.array([np.argsort(-values, kind="stable")[:TOP] for values in (truth.mean(axis=0), truth.var(axis=0))])


def _image_head(fitted: ReducedRank, expression: Array) -> Array:
    """Return the weights of the image head (f, r): a component's, over its deviation among the training spots.

    The weighted mean of neighbours is, to first order in the similarity, the mean of all and the covariance of their
    expression with their components, times the query. So a component that varies more among the training spots would
    count more than the regression says.
    """
    deviation = fitted.measured(expression).std(axis=0)
    head: Array = fitted.into / np.where(deviation > LEAST_DEVIATION, deviation, np.inf)
    return head


def _model(training: _Training, settings: Settings, config: FitConfig) -> FrozenCMRCNet:
    """Return the heads, filled up with components of zero to the length that an embedding must have."""
    fitted, n_genes = training.fitted(settings, config.seed), training.expression.shape[1]
    head, dim = _image_head(fitted, training.expression), settings.rank
    sizes = config.model_config(n_genes)
    temperature = sizes.temperature if settings.temperature is None else settings.temperature
    model = FrozenCMRCNet(replace(sizes, embedding_dim=dim, temperature=temperature))
    into, out = np.zeros((dim, fitted.into.shape[0])), np.zeros((dim, fitted.out.shape[1]))
    into[: head.shape[1]], out[: len(fitted.out)] = head.T, fitted.out
    image, gene = (
        (torch.from_numpy(centre).float(), torch.from_numpy(weight).float())
        for centre, weight in ((fitted.centre, into), (fitted.mean, out))
    )
    model.set_heads(image, gene)
    return model.eval()


def _write_thumbnails(sections: Sequence[Section], patch: PatchSpec, path: Path) -> Job[None]:
    patches = []
    for section in sections:
        patches.append((yield from patch_cache(section, patch)))
    blocks = (
        np.array(of_section[start : start + THUMBNAILS_A_STEP])
        for of_section in patches
        for start in range(0, len(of_section), THUMBNAILS_A_STEP)
    )
    yield from write_thumbnails(path, blocks, sum(map(len, patches)))
