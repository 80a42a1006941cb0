"""Predictions of other tools: their layouts, scored without a bank, and refused in one sentence."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from napari_cmrcnet.cli import main
from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.evaluation.scores import score
from napari_cmrcnet.retrieval.external import open_external
from napari_cmrcnet.retrieval.prediction import Prediction
from napari_cmrcnet.sections.spots import open_spots
from napari_cmrcnet.viewer.open_file import TABLE, open_file
from napari_cmrcnet.viewer.reopen import Opened

GENES = [f"GENE{i}" for i in range(20)]
SPOTS = 36


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    """Spots on a lattice of 200 pixels, with ids beside symbols, and one near-empty gene."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(np.linspace(2, 30, SPOTS)[:, None] * np.linspace(0.5, 3, 20))
    table = AnnData(sparse.csr_matrix(counts.astype(np.float32)))
    table.obs_names, table.var_names = [f"spot{i}-1" for i in range(SPOTS)], GENES
    table.var["gene_ids"] = [f"ENSG{i:011d}" for i in range(20)]
    table.obsm["spatial"] = np.stack(np.divmod(np.arange(SPOTS), 6), axis=1)[:, ::-1] * 200.0 + 300
    table.write_h5ad(tmp_path / "measured.h5ad")
    return tmp_path / "measured.h5ad"


@pytest.fixture
def values(measured: Path) -> np.ndarray:
    """What a tool predicts: the measured log-normalised values, with noise."""
    counts = open_spots(measured).X.toarray()
    log = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4)
    return (log + np.random.default_rng(1).normal(0, 0.2, log.shape)).clip(0.01).astype(np.float32)


def names(path: Path) -> list[str]:
    return list(open_spots(path).obs_names)


def h5ad(path: Path, table: AnnData) -> Path:
    table.write_h5ad(path)
    return path


def omicverse(path: Path, measured: Path, values: np.ndarray) -> Path:
    """ov.space.histo.predict_expression: tiles' names, symbols, log1p in X, tile centres in obsm["spatial"]."""
    xy = open_spots(measured).obsm["spatial"]
    table = AnnData(values, obsm={"spatial": xy + 20.0})
    table.obs_names, table.var_names = [f"tile_{i}" for i in range(SPOTS)], GENES
    return h5ad(path / "omicverse.h5ad", table)


def lazyslide(path: Path, measured: Path, values: np.ndarray) -> Path:
    """lazyslide.tl.feature_prediction: rows are tiles, var_names the outputs, obs the tile's number and library."""
    table = AnnData(values, obsm={"spatial": open_spots(measured).obsm["spatial"]})
    table.obs["tile_id"], table.obs["library_id"] = np.arange(SPOTS), "wsi"
    table.var_names = GENES
    return h5ad(path / "lazyslide.h5ad", table)


def a_layer(path: Path, measured: Path, values: np.ndarray) -> Path:
    import anndata

    table = anndata.read_h5ad(measured)
    table.layers["stnet_predicted"] = values
    return h5ad(path / "layer.h5ad", table)


def sparse_by_id(path: Path, measured: Path, values: np.ndarray) -> Path:
    table = AnnData(sparse.csc_matrix(values), var=pd.DataFrame(index=[f"ENSG{i:011d}.4" for i in range(20)]))
    table.obs_names = names(measured)
    return h5ad(path / "ids.h5ad", table[::-1].copy())


def obsm_table(path: Path, measured: Path, values: np.ndarray) -> Path:
    table = AnnData(obs=pd.DataFrame(index=names(measured)))
    table.obsm["prediction"] = pd.DataFrame(values, index=table.obs_names, columns=GENES)
    return h5ad(path / "frame.h5ad", table)


def obsm_with_names(path: Path, measured: Path, values: np.ndarray) -> Path:
    table = AnnData(obs=pd.DataFrame(index=names(measured)), obsm={"model": values, "X_pca": values[:, :3]})
    table.uns["model_genes"] = np.array(GENES, object)
    return h5ad(path / "obsm.h5ad", table)


def csv(path: Path, measured: Path, values: np.ndarray) -> Path:
    pd.DataFrame(values, names(measured), GENES).to_csv(path / "values.csv")
    return path / "values.csv"


def turned_tsv(path: Path, measured: Path, values: np.ndarray) -> Path:
    pd.DataFrame(values, names(measured), GENES).T.to_csv(path / "values.tsv", sep="\t")
    return path / "values.tsv"


def parquet(path: Path, measured: Path, values: np.ndarray) -> Path:
    """HEST-Bench keeps pickles, which can run code; its arrays and barcodes as a table instead."""
    table = pd.DataFrame(values, columns=GENES)
    table.insert(0, "barcode", names(measured))
    table.to_parquet(path / "values.parquet", index=False)
    return path / "values.parquet"


def odd_parquet(path: Path, measured: Path, values: np.ndarray) -> Path:
    """With the spots as its index, and notes of pandas that pandas cannot use."""
    import pyarrow
    from pyarrow.parquet import write_table

    stored = pyarrow.Table.from_pandas(pd.DataFrame(values, names(measured), GENES))
    notes = b'{"index_columns": ["__index_level_0__"], "columns": [{"name": null, "numpy_type": "odd"}]}'
    write_table(stored.replace_schema_metadata({b"pandas": notes}), path / "values.parquet")
    return path / "values.parquet"


def lazyslide_store(path: Path, measured: Path, values: np.ndarray) -> Path:
    """WSIData.write: a SpatialData zarr store, the prediction among its tables."""
    zarr = pytest.importorskip("zarr")
    table = AnnData(values, obsm={"spatial": open_spots(measured).obsm["spatial"]})
    table.var_names = GENES
    table.obs_names = names(measured)
    store = path / "wsi.zarr"
    zarr.open_group(str(store), mode="w").create_group("tables")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # which zarr is written
        table.write_zarr(store / "tables" / "path2space_tiles")
    return store


LAYOUTS = (
    omicverse, lazyslide, lazyslide_store, a_layer, sparse_by_id, obsm_table, obsm_with_names, csv, turned_tsv, parquet,
    odd_parquet,
)  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_has_its_values_at_its_spots(
    layout: Callable[..., Path], tmp_path: Path, measured: Path, values: np.ndarray
) -> None:
    spots = open_spots(measured)
    found = open_external(layout(tmp_path, measured, values), spots)
    assert len(found) == SPOTS
    for gene in (0, 7, 19):
        name = found.names.symbols[gene] if layout is sparse_by_id else GENES[gene]
        np.testing.assert_allclose(found.gene(name), values[:, gene], rtol=1e-5)
    assert set(found.measured_genes) == set(found.genes)  # matched by symbol or id
    table = score(found).table
    log = np.asarray(found.measured(list(found.genes)))
    np.testing.assert_allclose(table.pcc, [np.corrcoef(log[:, g], values[:, g])[0, 1] for g in range(20)], atol=1e-4)


def test_rows_without_names_are_the_spots_of_their_numbers(tmp_path: Path, measured: Path, values: np.ndarray) -> None:
    spots = open_spots(measured)
    spots.obs_names = [str(number) for number in range(SPOTS)]
    pd.DataFrame(values, columns=GENES)[5:].to_parquet(tmp_path / "part.parquet")
    found = open_external(tmp_path / "part.parquet", spots)
    np.testing.assert_array_equal(found.xy, spots.obsm["spatial"][5:])
    np.testing.assert_allclose(found.gene("GENE7"), values[5:, 7], rtol=1e-5)


def test_scales(tmp_path: Path, measured: Path, values: np.ndarray) -> None:
    spots, linear = open_spots(measured), np.expm1(values)
    path = csv(tmp_path, measured, linear)
    with pytest.raises(UserError, match=r"values from .* too large for logarithms; say what they are: log, n"):
        open_external(path, spots)
    np.testing.assert_allclose(open_external(path, spots, scale="normalised").gene("GENE3"), values[:, 3], rtol=1e-4)
    counts = np.round(linear / 10)
    path = csv(tmp_path, measured, counts)
    with pytest.raises(UserError, match="whole numbers, as counts are"):
        open_external(path, spots)
    expected = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4)
    np.testing.assert_allclose(open_external(path, spots, scale="counts").gene("GENE3"), expected[:, 3], rtol=1e-4)
    with pytest.raises(UserError, match="counts values are not below 0"):
        open_external(csv(tmp_path, measured, values - 9), spots, scale="counts")


def test_some_spots_and_genes_are_enough(tmp_path: Path, measured: Path, values: np.ndarray) -> None:
    some = pd.DataFrame(values, names(measured), GENES).iloc[5:30, :4].assign(OTHER=1.0)
    some.to_csv(tmp_path / "some.csv")
    found = open_external(tmp_path / "some.csv", open_spots(measured))
    assert len(found) == 25
    assert found.genes == (*GENES[:4], "OTHER")
    assert found.measured_genes == tuple(GENES[:4])
    assert any("Left out 11 of 36 measured spots: no value" in note for note in found.provenance.notes)
    np.testing.assert_allclose(found.gene("GENE2"), values[5:30, 2], rtol=1e-5)


def test_it_is_kept_and_read_again_without_a_bank(tmp_path: Path, measured: Path, values: np.ndarray) -> None:
    found = open_external(a_layer(tmp_path, measured, values), open_spots(measured))
    found.save(tmp_path / "kept.h5ad")
    again = Prediction.load(tmp_path / "kept.h5ad")
    np.testing.assert_array_equal(again.gene("GENE5"), found.gene("GENE5"))
    assert again.provenance == found.provenance
    assert again.bank is None
    assert list(again.confidence().columns) == []
    assert again.out_of_distribution() is None
    with pytest.raises(UserError, match=r"layer.h5ad, which another tool predicted, does not hold MYC"):
        again.gene("MYC")
    with pytest.raises(UserError, match="does not hold the training spots behind a value"):
        again.bank_for("the training spots behind a value")


def test_evaluate_scores_it_and_keeps_what_the_window_opens(
    tmp_path: Path, measured: Path, values: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    out, path = tmp_path / "scores", csv(tmp_path, measured, values)
    assert main(["evaluate", str(path), "--spots", str(measured), "--out", str(out)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "Mean PCC of predicted with measured" in said
    assert "was predicted by another tool (values.csv)" in said
    assert Prediction.load(out / "values_predicted.h5ad").genes == tuple(GENES)
    assert "was predicted by another tool" in (out / "summary.md").read_text("utf-8")
    same = a_layer(tmp_path, measured, values)
    assert main(["evaluate", str(same), "--out", str(tmp_path / "same")]) == 0


def error_of(call: Callable[[], Any]) -> str:
    with pytest.raises(UserError) as raised:
        call()
    return str(raised.value)


def test_what_does_not_fit_is_said_in_one_sentence(tmp_path: Path, measured: Path, values: np.ndarray) -> None:
    import anndata

    spots = open_spots(measured)
    table = anndata.read_h5ad(measured)
    table.layers["a"], table.layers["b"] = values, values
    two = h5ad(tmp_path / "two.h5ad", table)
    said = error_of(lambda: open_external(two, spots))
    assert "not written by predict. If another tool's prediction is in it, say in which of its matrices: X (20" in said
    assert "has no matrix c; it has X" in error_of(lambda: open_external(two, spots, layer="c"))
    np.testing.assert_allclose(open_external(two, spots, layer="b").gene("GENE1"), values[:, 1])
    holes = values.copy()
    holes[3, 4] = np.nan
    assert "1 missing or infinite values, such as of GENE4" in error_of(
        lambda: open_external(csv(tmp_path, measured, holes), spots)
    )
    other = pd.DataFrame(values, [f"x{i}" for i in range(SPOTS)], GENES)
    other.to_csv(tmp_path / "other.csv")
    assert "its spots are called x0, x1, the measured ones spot0-1" in error_of(
        lambda: open_external(tmp_path / "other.csv", spots)
    )
    far = AnnData(values, obsm={"spatial": spots.obsm["spatial"] * 50})
    assert "no position within 100 pixels of one" in error_of(
        lambda: open_external(h5ad(tmp_path / "far.h5ad", far), spots)
    )
    pd.concat([other, other]).to_csv(tmp_path / "twice.csv")
    assert "has the spot x0 twice" in error_of(lambda: open_external(tmp_path / "twice.csv", spots))
    other.assign(cluster="a").to_csv(tmp_path / "texts.csv")
    assert "columns that are not numbers (cluster)" in error_of(lambda: open_external(tmp_path / "texts.csv", spots))
    (tmp_path / "dump.pkl").write_bytes(b"x")
    assert "is not a table of predicted values; give one that ends in" in error_of(
        lambda: open_external(tmp_path / "dump.pkl", spots)
    )


def test_damaged_files_are_refused(tmp_path: Path, measured: Path, values: np.ndarray) -> None:
    spots = open_spots(measured)
    for layout in LAYOUTS:
        path = layout(tmp_path, measured, values)
        if path.is_dir():
            chunk = next(path.rglob("X/c/0/0"), None) or next(path.rglob("X/0.0"))
            chunk.write_bytes(b"x")
            assert str(path) in error_of(lambda path=path: open_external(path, spots))
            continue
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        if path.suffix in (".h5ad", ".parquet"):  # a text that is cut between two lines is a shorter table
            assert str(path) in error_of(lambda path=path: open_external(path, spots))


def test_a_benchmark_scores_another_tool_on_the_same_folds_and_genes(
    tmp_path: Path, write_section: Callable[..., tuple[Path, Path]]
) -> None:
    from napari_cmrcnet.benchmark.dataset import Dataset
    from napari_cmrcnet.benchmark.plan import Plan
    from napari_cmrcnet.benchmark.results import load_result
    from napari_cmrcnet.benchmark.run import benchmark
    from napari_cmrcnet.common.progress import finish
    from napari_cmrcnet.sections.panels import Panel
    from napari_cmrcnet.sections.sheet import SheetRow
    from napari_cmrcnet.slides.patches import PatchSpec

    tables, rows = tmp_path / "tables", []
    tables.mkdir()
    for name, seed in (("S0", 0), ("S1", 1)):
        slide, path = write_section(tmp_path, name, seed=seed)
        rows.append(SheetRow(name, slide, path, "P" + name, 0.5))
        spots = open_spots(path)
        log = np.log1p(spots.X.toarray() / spots.X.sum(axis=1).A * 1e4)
        log += np.random.default_rng(seed).normal(0, 0.5, log.shape)
        genes = pd.DataFrame(log, spots.obs_names, spots.var_names).drop(columns="GENE2")
        genes.to_csv(tables / f"{name}.csv")
    dataset = Dataset(name="two", rows=tuple(rows), panel=Panel("two", ("GENE3",)), map_genes=("GENE1",))
    asked = Plan(methods=("mean",), external={"Tool": tables}, patch=PatchSpec(32, 0.5), device="cpu", figures=False)
    out = tmp_path / "out"
    outcome = finish(benchmark(dataset, asked, out))
    assert "Tool" in set(outcome.tables[0].lines["method"])
    result = load_result(out / "results" / "S0" / "Tool_seed0.h5")
    found = result.sections["S0"][""].table
    assert np.isnan(found.at["GENE2", "pcc"])  # not in the table: no score
    assert np.nanmin(found["pcc"]) > 0.3
    assert any("lacks 1 of" in note for note in result.about["notes"])
    (tables / "S1.csv").write_text("spot,GENE1\na,1\n")
    assert "was made with other tables of another tool" in error_of(lambda: finish(benchmark(dataset, asked, out)))
    (tables / "S1.csv").unlink()
    assert "has no table of section S1" in error_of(lambda: finish(benchmark(dataset, asked, tmp_path / "new")))


@pytest.fixture
def opened(measured: Path) -> Opened:
    """The measured section as the window has it."""
    return finish(open_file(measured, None, {}))


def ask(path: Path, now: Opened | None, **asked: str) -> UserError:
    found = finish(open_file(path, now, asked))
    assert isinstance(found, UserError)
    return found


@pytest.mark.parametrize("layout", [*LAYOUTS])
def test_a_window_with_the_measured_section_asks_only_what_a_file_does_not_say(
    layout: Callable[..., Path], tmp_path: Path, measured: Path, opened: Opened, values: np.ndarray
) -> None:
    path = layout(tmp_path, measured, values)
    asked = {}
    if layout not in (csv, turned_tsv, parquet, odd_parquet):
        error = ask(path, opened)
        assert error.setting == "kind"
        assert TABLE in error.choices
        asked = {"kind": TABLE}
    found = finish(open_file(path, opened, asked))
    assert isinstance(found, Opened)
    assert found.case.prediction is not None
    name = "GENE7" if "GENE7" in found.case.genes else found.case.names.symbols[7]
    np.testing.assert_allclose(found.case.prediction.gene(name), values[:, 7], rtol=1e-5)
    assert found.case.is_of_section(opened.case) == (layout is not a_layer)  # which has counts of its own


def test_a_window_asks_for_the_scale_and_for_the_matrix(
    tmp_path: Path, measured: Path, opened: Opened, values: np.ndarray
) -> None:
    table = csv(tmp_path, measured, np.expm1(values))
    error = ask(table, opened)
    assert (error.setting, error.choices) == ("scale", ("log", "normalised", "counts"))
    found = finish(open_file(table, opened, {"scale": "normalised"}))
    np.testing.assert_allclose(found.case.prediction.gene("GENE7"), values[:, 7], rtol=1e-4)
    two = AnnData(obs=pd.DataFrame(index=names(measured)), var=pd.DataFrame(index=GENES))
    two.layers["a"], two.layers["b"] = values, values[:, ::-1].copy()
    path = h5ad(tmp_path / "two.h5ad", two)
    error = ask(path, opened, kind=TABLE)
    assert (error.setting, error.choices) == ("layer", ("a", "b"))
    found = finish(open_file(path, opened, {"kind": TABLE, "layer": "b"}))
    np.testing.assert_allclose(found.case.prediction.gene("GENE0"), values[:, 19], rtol=1e-5)


def test_without_an_open_section_the_measured_spots_are_asked_for(
    tmp_path: Path, measured: Path, values: np.ndarray
) -> None:
    found = finish(open_file(parquet(tmp_path, measured, values), None, {"spots": str(measured)}))
    assert score(found.case.prediction).table.pcc.min() > 0.5
    normalised = finish(open_file(omicverse(tmp_path, measured, values), None, {}))
    assert normalised.case.prediction is None  # values without counts are a section where none is open
    with pytest.raises(UserError, match="has no obsm"):
        finish(open_file(obsm_table(tmp_path, measured, values), None, {}))
