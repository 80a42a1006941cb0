"""The frozen variant on a large data set whose features are cached: 50,000 spots of ten sections, 15,000 genes.

usage: python -m benchmarks.frozen_fit [--small]

Counts are drawn, a fifth of them not zero, with a few components in common with the features. The whole training is
timed, from the sections to the saved checkpoint, but for what reads slides: features, stains and thumbnails. It is
trained on the variable genes, as by default, and on all genes.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from benchmarks.harness import Row, at_most, extra_memory, main
from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.sections.expression import expression_of
from napari_cmrcnet.sections.pixel_size import PixelSize
from napari_cmrcnet.sections.section import Section
from napari_cmrcnet.training import fit_frozen
from napari_cmrcnet.training.config import FitConfig
from napari_cmrcnet.training.fit import fit
from napari_cmrcnet.training.reduced_rank import Spots

SHARED = 8  # components
FEATURES = 3008  # of the default encoder
PENALTY, RANK = 1.0, 8
SPOTS_A_STEP = 500


def rows(small: bool) -> Iterator[Row]:
    """Return the rows of the table."""
    spots, genes, sections = (1600, 400, 2) if small else (50_000, 15_000, 10)
    data = _data(spots, genes, sections)
    _check(data)
    with tempfile.TemporaryDirectory() as folder:
        for which, chosen in (("variable", ()), ("all", tuple(data.sections[0].spots.var_names)))[: 1 if small else 2]:
            start = time.perf_counter()
            trained = _trained(data, chosen, Path(folder) / f"{which}.cmrcnet")
            taken = time.perf_counter() - start
            about = f"{spots:,} spots × {genes:,} genes in {sections} sections, on {len(trained.card.genes):,} genes"
            good = float(np.nanmedian(trained.bank.expected[:, 0]))
            assert good > 0.1, f"the components in common are not found: a median PCC of {good:.2f} is expected"
            sizes = {"spots": spots, "genes": genes, "features": FEATURES, "trained on": len(trained.card.genes)}
            yield Row(f"training of the frozen variant, {about}", "", taken, "s", at_most(60), sizes)
            del trained
            if small:
                continue
            extra = extra_memory(_prepared, spots, genes, sections, which)
            yield Row(f"memory beyond counts and features, {about}", "", extra, "MB", at_most(6000), sizes)


@dataclass(frozen=True)
class _Data:
    sections: list[Section]
    features: dict[str, np.ndarray]


def _data(spots: int, genes: int, n_sections: int) -> _Data:
    """Draw sections of a smooth low-rank expression, seen by features through noise."""
    rng = np.random.default_rng(0)
    share = rng.gamma(0.35, size=genes)
    share /= share.sum()
    weights = 0.6 * rng.standard_normal((SHARED, genes))
    seen = rng.standard_normal((SHARED, FEATURES), np.float32)
    names = [f"GENE{gene}" for gene in range(genes)]
    sections, features = [], {}
    for number in range(n_sections):
        n = spots // n_sections
        latent = rng.standard_normal((n, SHARED))
        blocks = []
        for start in range(0, n, SPOTS_A_STEP):
            rate = share * np.exp(latent[start : start + SPOTS_A_STEP] @ weights)
            depth = rng.lognormal(np.log(genes / 2), 0.4, (len(rate), 1))
            blocks.append(
                sparse.csr_matrix(rng.poisson(depth * rate / rate.sum(axis=1, keepdims=True)), dtype=np.float32)
            )
        x = latent.astype(np.float32) @ seen + 3 * rng.standard_normal((n, FEATURES), np.float32)
        name = f"S{number}"
        features[name] = (x - x.mean(axis=0)) / x.std(axis=0)
        table = AnnData(sparse.vstack(blocks, format="csr"), var=pd.DataFrame(index=names))
        table.obsm["spatial"] = np.stack(np.divmod(np.arange(n), 70), axis=1)[:, ::-1] * 200.0
        table.uns["cmrcnet"] = {"source": "drawn", "path": name, "notes": []}
        sections.append(Section(name, SimpleNamespace(path=name), table, name, PixelSize(0.5, "given")))
    return _Data(sections, features)


def _trained(data: _Data, genes: tuple[str, ...], path: Path) -> Checkpoint:
    """Train with the features given, and without reading slides."""

    def given(section: Section, *_: Any) -> Any:
        return data.features[section.name]
        yield

    def nothing(*_: Any) -> Any:
        return {}
        yield

    replaced = {"spot_features": given, "cache_key": lambda section, _: section.name, "training_tissue": nothing}
    with mock.patch.multiple(fit_frozen, **replaced):
        return finish(fit(data.sections, FitConfig(variant="frozen", genes=genes or None, thumbnails=False), path))


def _prepared(spots: int, genes: int, sections: int, which: str) -> Callable[[], object]:
    data, folder = _data(spots, genes, sections), tempfile.TemporaryDirectory()
    chosen = tuple(data.sections[0].spots.var_names) if which == "all" else ()
    return lambda: (_trained(data, chosen, Path(folder.name) / "m.cmrcnet"), folder.cleanup())


def _check(data: _Data) -> None:
    """Compare the regression, by sums of blocks in float32, with its equation in double precision, of a few genes."""
    some = data.sections[:5]
    x = np.concatenate([data.features[section.name] for section in some])
    names = list(some[0].spots.var_names)[:200]
    y = sparse.vstack([expression_of(section.spots, names) for section in some], format="csr")
    fitted = finish(Spots(x, y).fitted(PENALTY, RANK))
    a, b = x - x.mean(axis=0, dtype=np.float64), y.toarray() - y.mean(axis=0)
    f = x.shape[1]
    solved = np.linalg.solve(a.T @ a + PENALTY * f * np.eye(f), a.T @ np.asarray(b))
    v = np.linalg.svd(a @ solved, full_matrices=False)[2][:RANK]
    expected = a[:100] @ solved @ v.T @ v + np.asarray(y.mean(axis=0))
    np.testing.assert_allclose(fitted.predict(x[:100]), expected, atol=2e-3)


if __name__ == "__main__":
    main(rows)
