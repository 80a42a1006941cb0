"""The floor is what a training spot finds in the bank when its own row is left out."""

import numpy as np
import pytest

from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.retrieval import search
from napari_cmrcnet.retrieval.search import unit_length
from napari_cmrcnet.retrieval.similarity_floor import similarity_floor


def embeddings(m: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Patches near their own bank row, nearer than to any other."""
    rng = np.random.default_rng(seed)
    bank = unit_length(rng.normal(size=(m, 16)))
    return (3 * bank + 0.1 * rng.normal(size=(m, 16))).astype(np.float32), bank


@pytest.mark.parametrize("step", [7, 1024])
def test_it_is_the_first_percentile_of_the_best_of_the_other_rows(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "QUERIES_A_STEP", step)
    patches, bank = embeddings(300)
    cosines = (patches.astype(float) @ bank.T.astype(float)) / np.linalg.norm(patches.astype(float), axis=1)[:, None]
    assert (cosines.argmax(axis=1) == np.arange(300)).mean() > 0.9  # with its own row, each would find itself
    np.fill_diagonal(cosines, -np.inf)
    expected = np.percentile(cosines.max(axis=1), 1)
    assert finish(similarity_floor(patches, bank)) == pytest.approx(expected, abs=1e-6)


def test_a_copy_of_a_training_spot_is_another_spot() -> None:
    patches, bank = embeddings(1)
    assert finish(similarity_floor(np.repeat(patches, 3, 0), np.repeat(bank, 3, 0))) == pytest.approx(1, abs=0.01)


def test_one_spot_has_no_floor() -> None:
    assert finish(similarity_floor(*embeddings(1))) is None


def test_it_can_be_cancelled_between_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "QUERIES_A_STEP", 10)
    job = similarity_floor(*embeddings(25))
    assert [progress.done for progress in job] == [0, 10, 20, 25]
