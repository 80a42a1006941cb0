"""The paper's experiments: the same folds, patches and genes for all; what is done is kept, and told as it is."""

import csv
import json
import random
import re
import shutil
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy

from forked import Forked
from napari_cmrcnet.benchmark.best_genes import gene_table
from napari_cmrcnet.benchmark.bootstrap import estimate
from napari_cmrcnet.benchmark.collected import Collected
from napari_cmrcnet.benchmark.dataset import Dataset
from napari_cmrcnet.benchmark.folds import Fold, genes_of, make_folds, with_genes, with_leaks
from napari_cmrcnet.benchmark.method_list import ABLATION, Choice, choose
from napari_cmrcnet.benchmark.method_names import METHOD_NAMES
from napari_cmrcnet.benchmark.methods import baselines
from napari_cmrcnet.benchmark.methods.cmrcnet import predict_each
from napari_cmrcnet.benchmark.plan import Plan
from napari_cmrcnet.benchmark.plots import method_moments
from napari_cmrcnet.benchmark.report import Outcome
from napari_cmrcnet.benchmark.results import Output, UnitResult, load_result, save_result, top_genes
from napari_cmrcnet.benchmark.run import benchmark
from napari_cmrcnet.benchmark.table_text import markdown
from napari_cmrcnet.benchmark.tables import make_tables
from napari_cmrcnet.benchmark.unit import Unit
from napari_cmrcnet.cli import main
from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.retrieval.predict import predict
from napari_cmrcnet.retrieval.predict_config import PredictConfig
from napari_cmrcnet.retrieval.protocol import Query
from napari_cmrcnet.sections.panels import Panel
from napari_cmrcnet.sections.section import Section
from napari_cmrcnet.sections.sheet import SheetRow
from napari_cmrcnet.slides.patches import PatchSpec

pytestmark = pytest.mark.usefixtures("one_thread")
Write = Callable[..., tuple[Path, Path]]
MODEL = {"patch_size": 16, "width": 32, "depth": 1, "heads": 2, "embedding_dim": 32}


def dataset_in(folder: Path, patients: Sequence[str] = ("P0", "P1"), **changes: Any) -> Dataset:
    rows = [
        SheetRow(f"S{i}", folder / f"S{i}.tif", folder / f"S{i}.h5ad", patient, 0.5)
        for i, patient in enumerate(patients)
    ]
    given = {
        "name": "two small",
        "rows": tuple(rows),
        "panel": Panel("two", ("GENE3", "GENE4")),
        "map_genes": ("GENE1",),
    }
    return Dataset(**(given | changes))


def plan(**changes: Any) -> Plan:
    given = {
        "methods": ("cmrcnet", "ridge"), "epochs": 1, "preset": "tiny", "ks": (10, 30), "model": MODEL,
        "patch": PatchSpec(32, 0.5), "device": "cpu", "figures": False,
    }  # fmt: skip
    return Plan(**(given | changes))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, write_section: Write) -> Path:
    """Two sections of 36 spots."""
    folder = tmp_path_factory.mktemp("sections")
    for i in range(2):
        write_section(folder, f"S{i}", seed=i)
    return folder


@pytest.fixture(scope="module")
def done(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """The whole benchmark in miniature: two methods, two folds, one epoch."""
    return finish(benchmark(dataset_in(folder), plan(figures=True), tmp_path_factory.mktemp("benchmark")))


def rows_of(path: Path) -> dict[tuple[str, str], dict[str, str]]:
    with path.open(newline="") as stream:
        return {(row["method"], row["set"]): row for row in csv.DictReader(stream)}


def output_of(out: Path, section: str, method: str) -> Output:
    return load_result(out / "results" / section / f"{method}_seed0.h5").sections[section][""]


def content(out: Path) -> dict[str, bytes]:
    """Return what must not hang on a stop: the tables."""
    return {path.name: path.read_bytes() for path in sorted((out / "tables").iterdir())}


def test_table_1_is_the_mean_pcc_of_the_test_sections_top_genes(done: Outcome, folder: Path) -> None:
    rows = rows_of(done.out / "tables" / "table1.csv")
    assert list(rows) == [
        (method, genes)
        for method in ("CMRCNet-10", "CMRCNet-30", "Ridge on colour and texture")
        for genes in ("HEG", "HVG", "markers")
    ]
    means = []
    for name in ("S0", "S1"):
        counts = anndata.read_h5ad(folder / f"{name}.h5ad").to_df()
        truth = np.log1p(counts.div(counts.sum(axis=1), axis=0) * 1e4)
        guess = output_of(done.out, name, "ridge").drawn.set_axis(truth.index)
        means.append(np.mean([np.corrcoef(truth[gene], guess[gene])[0, 1] for gene in ("GENE3", "GENE4")]))
    ridge = rows["Ridge on colour and texture", "markers"]
    assert float(ridge["mean"]) == pytest.approx(np.mean(means), abs=1e-5)
    assert float(ridge["low"]) < float(ridge["mean"]) < float(ridge["high"])
    ours = rows["CMRCNet-10", "markers"]
    assert float(ridge["difference"]) == pytest.approx(float(ridge["mean"]) - float(ours["mean"]), abs=2e-6)
    assert (ours["difference"], ours["reference"], ours["paper"]) == ("", "CMRCNet-10", "")


def test_report_names_budget_folds_time_and_machine(done: Outcome) -> None:
    report = (done.out / "report.md").read_text()
    for said in ("Seeds: 1. Budget: 1 epoch, ", "Fold S0: trained on S1; tested on S0; 24 genes",
                 "of which 24 are the union", "among the training sections' highly variable genes", "preset tiny",
                 " core", "| CMRCNet | 2 |", "The paper has no values for these sections", "k = 30"):  # fmt: skip
        assert said in report
    assert re.findall(r"^### Table (\d)", report, re.MULTILINE) == ["1", "2", "3"]
    folds = json.loads((done.out / "folds.json").read_text())
    assert [(fold["training"], fold["test"]) for fold in folds] == [(["S1"], ["S0"]), (["S0"], ["S1"])]
    assert not done.warnings
    assert not list((done.out / "trainings").rglob("*.cmrcnet"))


def test_figures_are_png_and_svg(done: Outcome) -> None:
    names = {path.name for path in (done.out / "figures").iterdir()}
    stems = ["figure2"]
    stems += [f"{stem}_{name}" for name in ("S0", "S1") for stem in ("figure3", "map_GENE1")]
    stems += [f"figure4_{name}_{genes}" for name in ("S0", "S1") for genes in ("HEG", "HVG")]
    assert names == {f"{stem}.{kind}" for stem in stems for kind in ("png", "svg")}
    assert all(f"figures/{stem}.png" in (done.out / "report.md").read_text() for stem in stems)
    for stem in stems[1:]:  # those of a section name it and its patient
        drawn = (done.out / "figures" / f"{stem}.svg").read_text("utf-8")
        assert f"{'S0' if 'S0' in stem else 'S1'}, patient " in drawn, stem


def test_what_is_done_is_not_done_again_and_more_seeds_may_be_asked_for(done: Outcome, folder: Path) -> None:
    results = sorted((done.out / "results").rglob("*.h5"))
    made = [path.stat().st_mtime_ns for path in results]
    tables = content(done.out)
    finish(benchmark(dataset_in(folder), plan(), done.out))
    assert content(done.out) == tables
    more = finish(benchmark(dataset_in(folder), plan(methods=("ridge", "mean"), seeds=2), done.out))
    assert [path.stat().st_mtime_ns for path in results] == made
    rows = rows_of(more.out / "tables" / "table1.csv")
    assert rows["Ridge on colour and texture", "HEG"]["seeds"] == "2"
    assert rows["Training mean", "HEG"]["mean"] == ""  # constant: no correlation
    finish(benchmark(dataset_in(folder), plan(), done.out))
    assert content(done.out) == tables


def test_other_weights_of_an_encoder_are_refused(done: Outcome, folder: Path, tmp_path: Path) -> None:
    weights = tmp_path / "encoder.pth"
    weights.write_bytes(b"some")
    with pytest.raises(UserError, match=r"cmrcnet_seed0\.h5 was made without weights of the encoder"):
        finish(benchmark(dataset_in(folder), plan(weights={"cmrcnet": weights}), done.out))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 2}, "epochs was 1, now 2"),
        ({"preset": "small"}, 'preset was "tiny", now "small"'),
        ({"folds": "patient"}, 'folds was "sample", now "patient"'),
        ({"patch": PatchSpec(32, 0.25)}, "patch was"),
    ],
)
def test_other_settings_are_refused(done: Outcome, folder: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        finish(benchmark(dataset_in(folder), plan(**changes), done.out))


def test_results_of_a_version_that_tuned_otherwise_are_refused(
    done: Outcome, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_cmrcnet.benchmark.run.TUNED_QUERY", Query(k=100))
    with pytest.raises(UserError, match=r'tuned was .*"k": 200.*, now .*"k": 100'):
        finish(benchmark(dataset_in(folder), plan(), done.out))


def test_folds_on_record_that_lack_their_genes_are_refused(done: Outcome, folder: Path, tmp_path: Path) -> None:
    """Read as none, they would be compared over no genes."""
    out = shutil.copytree(done.out, tmp_path / "out")
    (out / "folds.json").write_text('[{"name": "S0", "training": ["S1"], "test": ["S0"]}]')
    with pytest.raises(UserError, match=r"folds\.json lacks the entry 'genes'; choose another folder\.$"):
        finish(benchmark(dataset_in(folder), plan(), out))


def test_patches_that_the_encoder_cannot_read_are_refused_before_anything_is_written(
    folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"image_size is 30; it must be a multiple of the patch_size \(16\)"):
        finish(benchmark(dataset_in(folder), plan(patch=PatchSpec(30, 0.5)), tmp_path / "out"))
    assert not (tmp_path / "out").exists()
    finish(benchmark(dataset_in(folder), plan(methods=("ridge",), patch=PatchSpec(30, 0.5)), tmp_path / "out"))


def test_other_sections_are_refused(done: Outcome, tmp_path: Path, write_section: Write) -> None:
    for i in range(2):
        write_section(tmp_path, f"S{i}", seed=i + 7)
    with pytest.raises(UserError, match="section S0 has other patches; section S0 has other counts"):
        finish(benchmark(dataset_in(tmp_path), plan(), done.out))


BENCHMARK = """
import signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from test_benchmark import dataset_in, plan
from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.benchmark.run import benchmark
def job(word):
    steps, delay = word.split()
    job = benchmark(dataset_in(Path(sys.argv[1])), plan(), Path(sys.argv[2]))
    for _ in range(int(steps)):
        next(job)
    signal.setitimer(signal.ITIMER_REAL, float(delay))  # its signal kills
    finish(job)
"""


def test_killed_at_random_and_gone_on_with(done: Outcome, folder: Path, tmp_path: Path, forked: Forked) -> None:
    moments = random.Random(0)
    jobs = forked(BENCHMARK, folder, tmp_path, Path(__file__).parent)
    for steps in (moments.randrange(6, 26), moments.randrange(4, 14)):
        assert list(jobs.run(f"{steps} {moments.uniform(1e-6, 0.01)}")) == []
        assert jobs.code == -signal.SIGALRM
    finish(benchmark(dataset_in(folder), plan(), tmp_path))
    assert content(tmp_path) == content(done.out)


def test_several_processes_and_a_dask_cluster_give_the_same(folder: Path, tmp_path: Path, cluster: str) -> None:
    """That a training comes out the same in another process is seen where one is killed."""
    given, asked = dataset_in(folder), plan(methods=("ridge", "mean"))
    finish(benchmark(given, asked, tmp_path / "alone"))
    finish(benchmark(given, asked, tmp_path / "several", workers=2))
    finish(benchmark(given, asked, tmp_path / "cluster", scheduler=cluster))
    assert content(tmp_path / "several") == content(tmp_path / "cluster") == content(tmp_path / "alone")


def test_a_gene_that_the_test_section_lacks_is_not_scored(folder: Path, tmp_path: Path) -> None:
    for name in ("S0.tif", "S0.h5ad", "S1.tif"):
        shutil.copy(folder / name, tmp_path / name)
    spots = anndata.read_h5ad(folder / "S1.h5ad")
    spots[:, spots.var_names != "GENE3"].copy().write_h5ad(tmp_path / "S1.h5ad")
    asked = plan(methods=("ridge", "ceiling"))
    found = finish(benchmark(dataset_in(tmp_path), asked, tmp_path / "out"))
    table = output_of(found.out, "S1", "ceiling").table
    assert "GENE3" not in table.index
    assert len(table) == 23
    assert np.isfinite(table["pcc"]).all()


def test_what_cannot_be_run_is_named_and_the_rest_is_reported(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise UserError("The loss is not finite; lower the learning rate.")

    monkeypatch.setattr("napari_cmrcnet.benchmark.methods.cmrcnet.fit", refuse)
    with pytest.raises(UserError, match=r"2 of 4 runs could not be done: S0, cmrcnet, seed 0: The loss is not finite"):
        finish(benchmark(dataset_in(folder), plan(), tmp_path))
    rows = rows_of(tmp_path / "tables" / "table1.csv")
    assert {method for method, _ in rows} == {"Ridge on colour and texture"}
    assert "S1, cmrcnet, seed 0: The loss is not finite" in (tmp_path / "report.md").read_text()


def test_an_ablation_without_its_reference_is_reported(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Unit.run

    def refuse(unit: Unit) -> Any:
        if unit.choice.name == "cmrcnet-contrastive":
            return (yield from run(unit))
        raise UserError("The memory is full.")

    monkeypatch.setattr(Unit, "run", refuse)
    with pytest.raises(UserError, match="16 of 18 runs could not be done"):
        finish(benchmark(dataset_in(folder), plan(methods=("cmrcnet",), ablation=True, figures=True), tmp_path))
    assert {method for method, _ in rows_of(tmp_path / "tables" / "table5.csv")} == {"contrastive loss alone"}
    report = (tmp_path / "report.md").read_text()
    assert "S1, cmrcnet, seed 0: The memory is full" in report
    assert re.findall(r"^### Table (\d)", report, re.MULTILINE) == ["5"]


def test_each_k_is_what_predict_gives(
    untrained_checkpoint: Checkpoint, write_section: Write, open_small: Callable[..., Section], tmp_path: Path
) -> None:
    section = open_small(*write_section(tmp_path, "Q", 3), name="Q")
    genes = ("GENE5", "GENE2")
    each = finish(predict_each(untrained_checkpoint, genes, (5, 20), "cpu", section))
    for k, values in each.items():
        expected = finish(predict(section, untrained_checkpoint, PredictConfig(k=int(k), device="cpu"))).expression(
            genes
        )
        np.testing.assert_array_equal(values, expected)


def row(name: str, patient: str) -> SheetRow:
    return SheetRow(name, Path(f"{name}.tif"), Path(f"{name}.h5ad"), patient)


def test_folds_by_patient_leave_all_their_sections_out() -> None:
    rows = [row("A1", "A"), row("B1", "B"), row("A2", "A"), row("C1", "C/D")]
    folds = make_folds(rows, "patient")
    assert [(fold.training, fold.test) for fold in folds] == [
        (("B1", "C1"), ("A1", "A2")),
        (("A1", "A2", "C1"), ("B1",)),
        (("A1", "B1", "A2"), ("C1",)),
    ]
    assert folds[2].name == "3_C_D"
    with pytest.raises(UserError, match="The patient of B1 is not known"):
        make_folds([row("A1", "A"), row("B1", "")], "patient")
    with pytest.raises(UserError, match="All sections are of patient A"):
        make_folds([row("A1", "A"), row("A2", "A")], "patient")
    with pytest.raises(UserError, match="at least two sections"):
        make_folds([row("A1", "A")], "sample")


def test_sections_whose_names_make_one_file_name_are_kept_apart() -> None:
    rows = [SheetRow(name, Path("a.tif"), Path("a.h5ad"), "P", None) for name in ("ER", "ER+", "er")]
    folds = make_folds(rows, "sample")
    assert len({fold.name.casefold() for fold in folds}) == 3
    assert [fold.test for fold in folds] == [("ER",), ("ER+",), ("er",)]


def test_a_copy_under_another_name_is_a_leak_by_its_counts_or_its_slide_alone() -> None:
    fold = Fold("A", ("B", "C"), ("A",))
    contents = {"A": ("patches", "counts"), "B": ("patches of the .svs", "counts"), "C": ("patches", "other counts")}
    (said,) = with_leaks(fold, {"A": "", "B": "", "C": ""}, (), contents).leaks
    assert said.startswith("A has the same content as B and C")
    contents |= {"B": ("x", "y"), "C": ("z", "w")}
    (said,) = with_leaks(fold, {"A": "P", "B": "P", "C": "Q"}, (), contents).leaks
    assert "A is of the same patient (P) as B in training" in said


def test_a_leak_is_named(folder: Path, tmp_path: Path, write_section: Write) -> None:
    for i in range(2):
        write_section(tmp_path, f"S{i}", seed=i)
    write_section(tmp_path, "S2", seed=1)  # the content of S1
    given = dataset_in(tmp_path, patients=("P", "P", "Q"), replicates=(("S0", "S2"),), panel=None)
    outcome = finish(benchmark(given, plan(methods=("mean",)), tmp_path / "out"))
    assert outcome.warnings == (
        "S0 is cut from the same block as S2 in training: they are nearly copies.",
        "S1 has the same content as S2 in training: its scores say nothing.",
        "S2 has the same content as S1 in training: its scores say nothing.",
    )
    siblings = finish(benchmark(dataset_in(folder, ("P", "P")), plan(methods=("mean",)), tmp_path / "siblings"))
    assert siblings.warnings[0] == (
        "S0 is of the same patient (P) as S1 in training: its scores are optimistic for new patients."
    )
    assert siblings.warnings[0] in (tmp_path / "siblings" / "report.md").read_text()
    unknown = finish(benchmark(dataset_in(folder, ("P", "")), plan(methods=("mean",)), tmp_path / "unknown"))
    assert unknown.warnings[0].startswith("The patient of S1 is not known")


def test_genes_are_chosen_without_the_test_section(
    write_section: Write, open_small: Callable[..., Section], tmp_path: Path
) -> None:
    sections = [open_small(*write_section(tmp_path, f"S{i}", i), name=f"S{i}") for i in range(2)]
    names = list(sections[1].spots.var_names)
    sections[1].spots.var_names = [*names[:-1], "ONLY"]
    named = {section.name: section for section in sections}
    chosen = {name: genes_of(section) for name, section in named.items()}
    fold = with_genes(Fold("S1", ("S0",), ("S1",)), named, chosen, ["GENE0", "NOT"])
    assert fold.genes == tuple(names)


def test_the_papers_sets_are_ranked_among_the_training_sections_variable_genes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_cmrcnet.benchmark.folds.N_VARIABLE", 6)
    monkeypatch.setattr("napari_cmrcnet.benchmark.folds.N_EXPRESSED", 9)
    given = dataset_in(folder, panel=None)
    done = finish(benchmark(given, plan(methods=("ridge",)), tmp_path))
    paper = rows_of(tmp_path / "tables" / "table1.csv")["Ridge on colour and texture", "HEG"]
    made = [path.stat().st_mtime_ns for path in sorted((tmp_path / "results").rglob("*.h5"))]
    every_pcc, of_paper, means = [], 0, []
    for train, test in (("S0", "S1"), ("S1", "S0")):
        fold = next(fold for fold in json.loads((tmp_path / "folds.json").read_text()) if fold["name"] == test)
        counts = anndata.read_h5ad(folder / f"{train}.h5ad").to_df()
        truth = np.log1p(counts.div(counts.sum(axis=1), axis=0) * 1e4)
        ranked = scanpy.pp.highly_variable_genes(anndata.AnnData(truth), n_top_genes=6, inplace=False)
        variable = {str(gene) for gene in truth.columns[ranked["highly_variable"].to_numpy()]}
        expressed = set(truth.mean().nlargest(9).index)
        assert len(expressed - variable) > 2
        assert (set(fold["variable"]), set(fold["genes"])) == (variable, variable | expressed)
        table = output_of(tmp_path, test, "ridge").table
        of_test = table["mean"].to_dict()
        for sets, among in (("paper", variable), ("all", of_test)):
            best = sorted(among, key=lambda gene: of_test[gene], reverse=True)
            assert top_genes(table, "mean", 6, sets) == tuple(best[:6])
        assert top_genes(table, "mean", 6, "all") != top_genes(table, "mean", 6, "paper")
        pcc = table["pcc"].to_dict()
        every_pcc += pcc.values()
        of_paper += len(variable)
        means.append(np.mean([pcc[gene] for gene in variable]))
    assert float(paper["mean"]) == pytest.approx(np.mean(means), abs=1e-5)
    finish(benchmark(given, plan(methods=("ridge",), sets="all"), tmp_path))
    every = rows_of(tmp_path / "tables" / "table1.csv")["Ridge on colour and texture", "HEG"]
    assert int(every["genes"]) == len(every_pcc) > int(paper["genes"]) == of_paper
    assert [path.stat().st_mtime_ns for path in sorted((tmp_path / "results").rglob("*.h5"))] == made
    assert (done.tables[0].lines["too_rare"] == 0).all()


def test_predicted_depth_has_scores_and_no_maps(folder: Path, tmp_path: Path) -> None:
    """Its values are no expression: a map would have the colour of the highest value everywhere."""
    finish(benchmark(dataset_in(folder), plan(methods=("ridge", "depth"), figures=True), tmp_path))
    drawn = {path.stem: path.read_text("utf-8") for path in (tmp_path / "figures").glob("*.svg")}
    assert "Predicted depth" in drawn["figure2"]
    of_sections = {stem for stem in drawn if stem.endswith("S0") or "S0_" in stem}
    assert of_sections == {"figure3_S0", "figure4_S0_HEG", "figure4_S0_HVG", "map_GENE1_S0"}
    for stem in of_sections:
        assert "Ridge" in drawn[stem]
        assert "Predicted depth" not in drawn[stem], stem


def test_near_empty_spots_and_rare_genes_have_no_say_in_scores(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("S0", "S1"):
        shutil.copy(folder / f"{name}.tif", tmp_path / f"{name}.tif")
        spots = anndata.read_h5ad(folder / f"{name}.h5ad")
        counts = spots.X.toarray()
        counts[:2] = 0
        counts[:2, 4] = 3  # normalised it is the highest value of the section
        rare = counts[:, 3].copy()
        counts[:, 3] = 0
        counts[5:12, 3] = rare[5:12]
        spots.X = type(spots.X)(counts)
        spots.write_h5ad(tmp_path / f"{name}.h5ad")
    given, asked = dataset_in(tmp_path), plan(methods=("ceiling", "depth"), nan_as_zero=True)
    found = finish(benchmark(given, asked, tmp_path / "out"))
    one = output_of(tmp_path / "out", "S0", "ceiling")
    assert (one.counted.sum(), list(one.counted[:3])) == (34, [False, False, True])
    counts = anndata.read_h5ad(tmp_path / "S0.h5ad").to_df().iloc[2:]
    totals = counts.sum(axis=1).to_numpy()
    truth = np.log1p(counts.div(totals, axis=0) * 1e4)
    guess = one.drawn[2:].astype(float).set_axis(truth.index)
    log = np.log1p(totals)
    known = np.column_stack([np.ones(34), log, log**2])
    for gene, table in one.table.iterrows():
        assert table["mean"] == pytest.approx(truth[gene].mean(), rel=1e-5)
        assert table["found"] == (counts[gene] > 0).sum()
        if gene == "GENE3":
            assert table["found"] == 7
            assert np.isnan([table["pcc"], table["partial_pcc"], table["spearman"]]).all()
            continue
        assert table["pcc"] == pytest.approx(np.corrcoef(truth[gene], guess[gene])[0, 1], abs=1e-5)
        assert table["spearman"] == pytest.approx(truth[gene].corr(guess[gene], method="spearman"), abs=1e-4)
        rest = [side - known @ np.linalg.lstsq(known, side, rcond=None)[0] for side in (truth[gene], guess[gene])]
        assert table["partial_pcc"] == pytest.approx(np.corrcoef(*rest)[0, 1], abs=1e-4)
    rows = rows_of(tmp_path / "out" / "tables" / "table1.csv")
    markers = rows["Measured neighbours", "markers"]  # GENE3 and GENE4; the former is no 0
    both = [output_of(tmp_path / "out", name, "ceiling").table["pcc"].iloc[4] for name in ("S0", "S1")]
    assert float(markers["mean"]) == pytest.approx(np.mean(both), abs=1e-5)
    assert (markers["too_rare"], markers["genes"], markers["undefined"]) == ("2", "2", "0")
    for column in ("spearman", "partial_mean", "section_sd"):
        assert abs(float(markers[column])) < 1
    assert ("Predicted depth", "HEG") in rows
    report = (found.out / "report.md").read_text("utf-8")
    assert "scored at 34 of 36 spots" in report
    assert "markers: no score for 2 genes of the sections, found at under 10 spots." in report
    with pytest.raises(UserError, match="score_min_umi was not given, now 0"):
        finish(benchmark(given, replace(asked, score_min_umi=0), tmp_path / "out"))
    sheet = tmp_path / "sections.csv"
    sheet.write_text(
        "section,slide,spots,patient,mpp\n" + "".join(f"S{i},S{i}.tif,S{i}.h5ad,P,0.5\n" for i in range(2))
    )
    options = ["--methods", "ceiling", "--no-figures", "--patch-px", "32", "--model-mpp", "0.5", "--sets", "all"]
    every = ["benchmark", str(sheet), *options, "--out", str(tmp_path / "every"), "--score-min-umi", "0"]
    assert main(every) == 0
    assert output_of(tmp_path / "every", "S0", "ceiling").counted.all()
    assert main(["benchmark", str(sheet), *options, "--out", str(tmp_path / "none"), "--score-min-umi", "9999"]) == 1
    assert "Section S0 has 0 of 36 spots with enough counts to be scored (most: " in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_a_section_of_few_counts_is_named(folder: Path, tmp_path: Path) -> None:
    for name in ("S0", "S1"):
        shutil.copy(folder / f"{name}.tif", tmp_path / f"{name}.tif")
        spots = anndata.read_h5ad(folder / f"{name}.h5ad")
        few = np.random.default_rng(0).binomial(1, np.linspace(0.4, 0.9, 36)[:, None], spots.shape)
        spots.X = type(spots.X)(few.astype(np.float32) if name == "S0" else spots.X.toarray())
        spots.write_h5ad(tmp_path / f"{name}.h5ad")
    found = finish(benchmark(dataset_in(tmp_path), plan(methods=("ridge",)), tmp_path / "out"))
    (warning,) = found.warnings
    counts = anndata.read_h5ad(tmp_path / "S0.h5ad").to_df()
    total = counts.sum(axis=1)
    truth = np.log1p(counts.div(total, axis=0) * 1e4)
    left = explained = 0.0
    known = np.column_stack([np.ones(36), np.log1p(total), np.log1p(total) ** 2])
    for gene in truth:
        rest = truth[gene] - known @ np.linalg.lstsq(known, truth[gene], rcond=None)[0]
        if truth[gene].var():
            left += (rest**2).sum() / 33 * 35 / 36  # adjusted for the two terms
            explained += truth[gene].var(ddof=0)
    share = 1 - left / explained
    depth = f"median of {total.median():.0f} counts per spot; depth explains {100 * share:.0f} % of the variance"
    assert warning.startswith(f"S0 was sequenced shallowly ({depth}")
    assert warning in (found.out / "report.md").read_text("utf-8")


def test_figure_3_draws_measured_over_predicted_and_means_below_0_where_they_are() -> None:
    table = pd.DataFrame({
        "measured_mean": [0.5, 0.1, 2.0], "predicted_mean": [0.4, -0.3, 1.5],
        "measured_variance": [1.0, 0.0, 0.2], "predicted_variance": [0.1, 0.0, 0.3],
    })  # fmt: skip
    figure = method_moments({"Ridge": table}, "S0")
    mean, variance = figure.axes
    drawn = {line.get_label(): line.get_ydata() for line in mean.get_lines()[:2]}
    np.testing.assert_array_equal(drawn["measured"], [0.1, 0.5, 2.0])
    np.testing.assert_array_equal(drawn["predicted"], [-0.3, 0.4, 1.5])
    figure.draw_without_rendering()
    assert mean.get_ylim()[0] < -0.3
    assert -0.01 < variance.get_ylim()[0] < 0 < 1.0 < variance.get_ylim()[1] < 2  # no room for what cannot be
    assert [title.get_title() for title in (mean, variance)] == ["Ridge: mean of 3 genes", "Ridge: variance of 3 genes"]


DIFFERENCE = ["difference", "difference_low", "difference_high"]


def values(*sections: Sequence[Sequence[float]], genes: Sequence[str]) -> list[pd.DataFrame]:
    """Return a table of PCC for each section, a row a seed; the genes of each are letters."""
    return [pd.DataFrame(pcc, columns=list(each)) for pcc, each in zip(sections, genes, strict=True)]


def test_paired_bootstrap_over_genes() -> None:
    # Differences of two genes are 0 and 0.2. A resample draws both once (0.1) in half of the cases, and each twice
    # (0 and 0.2) in a quarter: the bounds are 0 and 0.2. One that is the same for all genes has no interval.
    found = estimate(
        {
            "ours": values([[0.2, 0.6]], genes=["AB"]),
            "other": values([[0.2, 0.8]], genes=["AB"]),
            "shifted": values([[0.1, 0.5]], genes=["AB"]),
        },
        ["A"],
        "ours",
    )
    assert found.loc["other", ["mean", *DIFFERENCE]].tolist() == pytest.approx([0.5, 0.1, 0.0, 0.2])
    assert found.loc["shifted", DIFFERENCE].tolist() == pytest.approx([-0.1, np.nan, np.nan], nan_ok=True)
    assert found.loc["ours", ["low", "high"]].tolist() == pytest.approx([0.2, 0.6])
    assert found.loc["ours", DIFFERENCE].isna().all()


def test_paired_bootstrap_over_folds_and_seeds() -> None:
    # Two folds of one gene: both are the first in a quarter of the resamples, both the second in a quarter.
    given = {
        "ours": values([[0.0]], [[0.4]], genes="AA"),
        "other": values([[0.1], [0.3]], [[0.4], [0.4]], genes="AA"),
    }
    found = estimate(given, ["A", "B"], "ours")
    assert found.loc["ours", ["mean", "low", "high"]].tolist() == pytest.approx([0.2, 0.0, 0.4])
    assert found.loc["ours", ["section_min", "section_max"]].tolist() == pytest.approx([0.0, 0.4])
    assert found.loc["ours", "section_sd"] == pytest.approx(np.std([0.0, 0.4], ddof=1))
    assert found.loc["other", ["mean", "seeds", *DIFFERENCE]].tolist() == pytest.approx([0.3, 2, 0.1, 0.0, 0.2])


def test_undefined_is_left_out_and_counted_or_zero() -> None:
    given = {"ours": values([[0.4, np.nan]], genes=["AB"]), "mean": values([[np.nan, np.nan]], genes=["AB"])}
    left_out = estimate(given, ["A"], "ours")
    assert np.isnan(left_out.loc["ours", "section_sd"])  # of a single section nothing is known of others
    assert left_out.loc["ours", ["mean", "genes", "undefined"]].tolist() == [0.4, 1, 1]
    assert left_out.loc["mean", ["mean", *DIFFERENCE]].isna().all()
    assert left_out.loc["mean", "undefined"] == 2
    zero = estimate(given, ["A"], "ours", nan_as_zero=True)
    assert zero["mean"].to_dict() == {"ours": 0.2, "mean": 0.0}
    assert (zero.loc["mean", "difference"], zero.loc["ours", "undefined"]) == (-0.2, 1)


def test_sections_that_score_the_same_genes_do_not_multiply_them() -> None:
    # Gene A is better by 0.2 in all sections, B alike: as many sections as you like, and 0 and 0.2 are still possible.
    ours, other = [[[0.2, 0.6]]] * 8, [[[0.4, 0.6]]] * 8
    alike = {"ours": values(*ours, genes=["AB"] * 8), "other": values(*other, genes=["AB"] * 8)}
    found = estimate(alike, list("ABCDEFGH"), "ours")
    assert found.loc["other", DIFFERENCE[1:]].tolist() == pytest.approx([0.0, 0.2])
    apart = [f"{letter}{letter.lower()}" for letter in "ABCDEFGH"]  # other genes in each section
    each = {"ours": values(*ours, genes=apart), "other": values(*other, genes=apart)}
    assert estimate(each, list("ABCDEFGH"), "ours").loc["other", "difference_low"] > 0.02


def test_intervals_hold_what_they_promise() -> None:
    """Where genes have one effect in all four sections, about 95 % of benchmarks have the true difference, 0, in it."""
    rng, held, n = np.random.default_rng(0), 0, 200
    for _ in range(n):
        gene = rng.normal(0, 0.1, 50)
        folds = [(gene + rng.normal(0, 0.03, 50))[None] for _ in range(4)]
        given = {"ours": [pd.DataFrame(np.zeros((1, 50)))] * 4, "other": list(map(pd.DataFrame, folds))}
        low, high = estimate(given, list("ABCD"), "ours", resamples=400).loc["other", DIFFERENCE[1:]]
        held += low <= 0 <= high
    assert held >= 0.9 * n


def test_a_method_gains_nothing_by_leaving_out_hard_genes() -> None:
    genes = ["ABCD"]
    given = {
        "ours": values([[0.4, 0.4, np.nan, np.nan]], genes=genes),
        "other": values([[0.4, 0.4, 0.1, 0.1]], genes=genes),
    }
    found = estimate(given, ["A"], "ours")
    assert found.loc["other", "mean"] == pytest.approx(0.25)
    assert found.loc["other", "difference"] == pytest.approx(0.0)
    assert np.isnan(found.loc["other", "difference_low"])  # all are alike


def faked(choices: Sequence[Choice], pcc: Callable[[str, str], float], n_genes: int = 300) -> Collected:
    """Return results of one fold in which every gene of a method has one PCC."""
    fold = Fold("A", ("B",), ("A",))
    genes = [f"G{i}" for i in range(n_genes)]
    level = np.arange(n_genes, dtype=float)
    measured = pd.DataFrame({"mean": level, "variance": level, "found": 30, "variable": True}, index=genes)
    made = []
    for choice in choices:
        ks = [str(k) for k in choice.settings.get("ks", ())] or [""]
        drawn, measures = pd.DataFrame(np.zeros((30, 1)), columns=["G0"]), ["pcc", "partial_pcc", "spearman"]
        tables = {k: measured.join(pd.DataFrame(pcc(choice.name, k), genes, measures)) for k in ks}
        outputs = {k: Output(table, np.ones(30, bool), drawn) for k, table in tables.items()}
        made.append(UnitResult("A", choice.name, choice.make().title, 0, {"A": outputs}, {}))
    return Collected(choices, [fold], made)


def test_the_papers_values_stand_beside_its_datasets_alone() -> None:
    choices = choose(("cmrcnet", "ceiling"), {"ks": (50, 250, 500)}, ablation=True)
    found = faked(choices, lambda name, k: 0.9 if name == "ceiling" else 0.5 if k == "500" else 0.3)
    given = Dataset("READ", (), Panel("p", ("G1",)), paper="READ")
    tables = {table.name: table for table in make_tables(given, found)}
    assert list(tables) == ["table1", "table2", "table5"]
    first, second, fifth = (
        table.lines.set_index(["method", "set"]) for table in (tables["table1"], tables["table2"], tables["table5"])
    )
    assert first.loc["CMRCNet-50"]["paper"].to_dict() == {"HEG": 0.3327, "HVG": 0.4191, "markers": 0.2505}
    text = markdown(tables["table1"])
    assert "paper 0.333" in text
    assert "CMRCNet-250" not in text
    assert "**0.500**" in text  # the ceiling sees the measurements and is no rival
    assert "| Measured neighbours | 0.900" in text
    assert second.loc[("CMRCNet", "HVG250"), "paper"] == 0.2738
    assert second.loc[("CMRCNet", "HEG250"), "mean"] == pytest.approx(0.5)  # of k = 500
    assert second.loc[("CMRCNet", "HEG150"), "genes"] == 150
    methods = fifth.index.unique("method")
    assert list(methods[:2]) == ["contrastive loss alone", "cosine, mask 0.3, image"]
    assert len(methods) == len(ABLATION) == 9
    assert set(fifth["reference"]) == {"MSE, mask 0.5, image"}
    assert fifth.loc[methods[6]]["paper"].to_dict() == {"HEG": 0.3117, "HVG": 0.302, "markers": 0.2372}
    every = {table.name: table for table in make_tables(given, found, sets="all")}
    ours = every["table1"].lines.set_index(["method", "set"]).loc["CMRCNet-50"]
    assert ours["paper"].dropna().to_dict() == {"markers": 0.2505}  # other HEG and HVG than the paper's
    assert every["table2"].lines["paper"].isna().all()
    assert every["table1"].title.endswith("READ, HEG and HVG among all genes")
    for table in make_tables(replace(given, name="mine", paper=""), found):
        assert table.lines["paper"].isna().all()


def test_ablation_is_of_loss_mask_target_and_reconstruction() -> None:
    choices = choose(("ridge",), {"ks": (50, 500), "model": {"depth": 1}}, ablation=True)
    assert [choice.name for choice in choices[:2]] == ["cmrcnet", "ridge"]  # what the rows are compared with
    models = [choice.settings["model"] for choice in choices[2:]]
    assert models[0] == {"depth": 1, "reconstruction": False}
    assert models[1] == {"depth": 1, "reconstruction_loss": "cosine", "mask_rate": 0.3, "target": "image"}
    assert {choice.settings["ks"] for choice in choices[2:]} == {(50,)}
    assert len({choice.name for choice in choices}) == 10


def test_weights_go_to_the_method_that_is_named_or_needs_them(tmp_path: Path) -> None:
    one, other = (tmp_path / name for name in ("one.pth", "other.pth"))
    for path in (one, other):
        path.touch()
    ours = {"ks": (50,)}
    names = ("frozen@uni", "stnet", "bleep", "cmrcnet")
    found = {choice.name: choice.weights for choice in choose(names, ours, weights={"": one, "stnet": other})}
    assert found == {"frozen@uni": one, "stnet": other, "bleep": None, "cmrcnet": None}
    with pytest.raises(UserError, match="The method eggn@uni needs weights of its encoder"):
        choose(("eggn@uni",), ours)
    with pytest.raises(UserError, match="The method bleep@uni is not compared; add it to --methods"):
        choose(("bleep",), ours, weights={"bleep@uni": one})
    assert [choice.name for choice in choose((), ours)] == [name for name in METHOD_NAMES if name != "ctranspath"]


def test_table_3_names_the_best_genes_and_the_papers() -> None:
    choices = choose(("cmrcnet", "mean"), {"ks": (50,)})
    found = faked(choices, lambda name, _: np.nan if name == "mean" else 0.4)
    table = gene_table(Dataset("COAD", (), paper="COAD"), found, found.labels)
    assert list(table["method"].unique()) == ["CMRCNet-50", "paper, CMRCNet-50"]  # the mean has no PCC
    assert table[table["method"] == "paper, CMRCNet-50"].iloc[0].tolist()[1:] == [1, "CD24", 0.6945]


def test_wrong_use_is_one_sentence(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sheet = tmp_path / "sections.csv"
    sheet.write_text(
        "section,slide,spots,patient,mpp\n"
        + "".join(f"S{i},{folder}/S{i}.tif,{folder}/S{i}.h5ad,P{i},0.5\n" for i in range(2))
    )
    out = ("--out", str(tmp_path / "out"))
    for arguments, message in (
        ((str(sheet), "--methods", "bleeep", *out), "There is no method 'bleeep'; choose among cmrcnet, "),
        ((str(sheet), "--methods", "ridge,ridge", *out), "ridge is there twice"),
        ((str(sheet), "--weights", "none.pth", *out), "error: none.pth does not exist"),
        ((str(sheet), "--weights", "bleep@uni=none.pth", *out), "error: none.pth does not exist"),
        ((str(sheet), "--methods", "cmrcnet", "--epochs", "1", *out), "averages 50 training spots, and there are 36"),
        (("raed", *out), "raed is neither a sheet nor one of the paper's datasets (coad, "),
        (("read", *out), "read does not exist; download READ to it"),
        ((str(sheet), "--all-spots", *out), "--all-spots are for the paper's datasets only"),
    ):
        assert main(["benchmark", *arguments]) == 1
        said = capsys.readouterr().err
        assert message in said
        assert "Traceback" not in said
    sheet.write_text(
        f"section,slide,spots,patient,mpp\nS0,{folder}/S0.tif,{folder}/S0.h5ad,,0.5\nS1,{folder}/S1.tif,,,\n"
    )
    assert main(["benchmark", str(sheet), *out]) == 1
    assert "S1 has no spots in the sheet" in capsys.readouterr().err
    weights = ["--weights", str(sheet), str(sheet)]
    assert main(["benchmark", str(sheet), *out, *weights]) == 1
    assert "is the second file of weights for one method; give one file for each method" in capsys.readouterr().err
    assert main(["download", "raed"]) == 1
    assert "not one of the paper's datasets" in capsys.readouterr().err


def test_markers_that_the_sections_lack_are_named(folder: Path, tmp_path: Path) -> None:
    unknown = dataset_in(folder, panel=Panel("ids", ("ENSG00000141736", "ENSG00000148773")))
    with pytest.raises(UserError, match="lacks 2 genes of the panel “ids”: ENSG00000141736, ENSG00000148773"):
        finish(benchmark(unknown, plan(methods=("ridge",)), tmp_path / "unknown"))
    dataset, said = dataset_in(folder, panel=Panel("some", ("gene3", "ELSEWHERE"))), "1 of the 2 markers: ELSEWHERE."
    outcome = finish(benchmark(dataset, plan(methods=("ridge",)), tmp_path / "some"))
    assert f"{said}\n" in (outcome.out / "report.md").read_text("utf-8")
    assert any(said in warning for warning in outcome.warnings)  # printed by the command


def test_a_defect_in_one_run_leaves_the_others_and_the_report(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(self: Any, task: Any) -> Any:
        raise {"S0": ValueError("odd"), "S1": MemoryError()}[task.training[0].name]
        yield

    monkeypatch.setattr(baselines.TrainingMean, "fit", broken)
    with pytest.raises(UserError, match="2 of 4 runs could not be done") as raised:
        finish(benchmark(dataset_in(folder), plan(methods=("mean", "ridge")), tmp_path))
    assert "an unexpected error (ValueError: odd); this is a bug" in str(raised.value)
    assert "There is not enough memory" in str(raised.value)
    assert "Traceback" in caplog.text
    assert "ridge" in (tmp_path / "report.md").read_text("utf-8").casefold()
    assert rows_of(tmp_path / "tables" / "table1.csv")


def test_weights_of_one_encoder_are_not_given_to_another(tmp_path: Path) -> None:
    file = tmp_path / "vit.safetensors"
    file.write_bytes(b"weights")
    made = choose(("cmrcnet", "ridge"), {"ks": (50,)}, ablation=True, weights={"cmrcnet": file})
    given = {choice.name for choice in made if choice.weights is not None}
    assert {"cmrcnet", *(row.name for row in ABLATION)} == given
    with pytest.raises(UserError, match="The method histogene has no encoder that takes weights"):
        choose(("cmrcnet", "histogene"), {"ks": (50,)}, weights={"histogene": file})


def test_numbers_of_neighbours_that_the_paper_has_not(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at least one number"):
        next(benchmark(dataset_in(folder), plan(ks=()), tmp_path))
    found = faked(choose(("cmrcnet", "ceiling"), {"ks": (300,)}), lambda _name, _k: 0.5)
    (wider,) = (table for table in make_tables(Dataset("x", ()), found) if table.name == "table2")
    assert "CMRCNet: k = 300 stands in for the paper's 250." in wider.notes


def test_versions_that_are_mixed_are_told(done: Outcome, folder: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(done.out, tmp_path / "copied"))
    path = copied / "results" / "S0" / "ridge_seed0.h5"
    result = load_result(path)
    save_result(path, replace(result, about=result.about | {"packages": {**result.about["packages"], "torch": "1.0"}}))
    again = finish(benchmark(dataset_in(folder), plan(), copied))
    assert any("several versions of torch 1.0 and" in warning for warning in again.warnings)
