"""Expression is normalised as scanpy does, and genes are chosen from the sections given alone."""

import json
import os
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import scanpy
from anndata import AnnData
from scipy import sparse

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.sections.expression import expression_of, highly_variable_genes, log_normalise, shared_genes
from napari_cmrcnet.sections.panels import PANELS, load_panel


def section(seed=0, spots=80, genes=60, names=None):
    random = np.random.default_rng(seed)
    means = random.gamma(0.4, 3, genes) * random.lognormal(0, 0.8, (spots, genes))
    names = names or [f"G{number}" for number in range(genes)]
    table = AnnData(
        sparse.csr_matrix(random.poisson(means).astype(np.int32)),
        uns={"cmrcnet": {"source": "test", "path": f"{seed}.h5ad", "notes": []}},
    )
    table.var_names = names
    return SimpleNamespace(name=str(seed), spots=table)


def reference(counts) -> np.ndarray:
    table = AnnData(sparse.csr_matrix(counts).astype(np.float64))
    scanpy.pp.normalize_total(table, target_sum=1e4)
    scanpy.pp.log1p(table)
    return table.X.toarray()


def test_log_normalisation_is_scanpys():
    spots = section().spots
    counts = spots.X
    ours = log_normalise(spots)
    assert sparse.isspmatrix_csr(ours)
    assert ours.dtype == np.float32
    assert np.allclose(ours.toarray(), reference(counts), atol=1e-5)
    assert counts.dtype == np.int32  # not changed


def test_a_spot_without_counts_stays_zero():
    assert np.array_equal(log_normalise(AnnData(np.array([[0, 0], [1, 3]]))).toarray()[0], [0, 0])


def test_some_genes_have_the_values_they_have_among_all():
    spots = section().spots
    chosen = ["G7", "G3", "G50"]
    all_genes = log_normalise(spots).toarray()
    assert np.array_equal(expression_of(spots, chosen).toarray(), all_genes[:, [7, 3, 50]])
    with pytest.raises(UserError, match=r"0\.h5ad lacks 2 of 3 genes \(X1, X2\)"):
        expression_of(spots, ["G1", "X1", "X2"])
    with pytest.raises(UserError, match="no measured counts"):
        expression_of(AnnData(obs=spots.obs, uns=spots.uns), ["G1"])


def test_shared_genes_keep_the_first_sections_order():
    first, second = section(0, genes=4, names=["D", "B", "C", "A"]), section(1, genes=4, names=["A", "X", "B", "C"])
    assert shared_genes([first, second]) == ["B", "C", "A"]
    with pytest.raises(UserError, match="no gene in common"):
        shared_genes([first, section(1, genes=2, names=["x", "y"])])


def test_highly_variable_genes_are_scanpys_union_in_a_fixed_order():
    names = [f"G{number}" for number in range(59, -1, -1)]
    sections = [section(0), section(1, names=names), section(2)]
    expected = set()
    for each in sections:
        table = AnnData(sparse.csr_matrix(reference(each.spots.X)))
        table.var_names = each.spots.var_names
        scanpy.pp.highly_variable_genes(table, flavor="seurat", n_top_genes=10)
        expected |= set(table.var_names[table.var["highly_variable"]])
    chosen = highly_variable_genes(sections, n_top=10)
    assert set(chosen) == expected
    assert chosen == [gene for gene in sections[0].spots.var_names if gene in expected]
    assert chosen == highly_variable_genes([sections[0], sections[2], sections[1]], n_top=10)


def test_sections_of_two_species_are_told_to_be_of_one():
    first, second = section(0), section(1, names=[f"g{number}" for number in range(60)])
    dull = [
        next(gene for gene in each.spots.var_names if gene not in highly_variable_genes([each], n_top=10))
        for each in (first, second)
    ]
    second.spots.var_names = [dull[0] if gene == dull[1] else gene for gene in second.spots.var_names]
    with pytest.raises(UserError, match=r"No highly variable gene .* check that all use gene symbols of one species"):
        highly_variable_genes([first, second], n_top=10)


@pytest.mark.parametrize(("spots", "genes"), [(1, 60), (2, 60), (4, 60), (80, 5)])
def test_small_sections_choose_genes_without_a_warning(spots, genes):
    chosen = highly_variable_genes([section(0, spots, genes)], n_top=20)
    assert 0 < len(chosen) <= max(60, genes)
    if genes == 5:
        assert len(chosen) == 5


def test_choosing_genes_leaves_the_number_of_threads_as_it_was():
    code = """
import sys
sys.path.append(sys.argv[1])
import torch
from test_expression import highly_variable_genes, section
highly_variable_genes([section(0, 40, 30)], n_top=10)
print(torch.get_num_threads())
"""
    alone = os.environ | {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "2"}
    command = [sys.executable, "-c", code, str(Path(__file__).parent)]
    said = subprocess.run(command, env=alone, capture_output=True, text=True, check=True).stdout
    assert said.strip() == "1"


def test_the_papers_six_panels():
    assert set(PANELS) == {"idc_lymphnode", "skcm", "read", "coad", "idc", "psc"}
    assert load_panel("idc").genes == ("MKI67", "ERBB2", "PRF1", "ESR1", "PGR", "GATA3", "AR", "EGFR")
    assert load_panel("IDC-LymphNode") is load_panel("idc_lymphnode")
    assert [len(panel.genes) for panel in PANELS.values()] == [10, 5, 11, 5, 8, 5]
    json.loads(files("napari_cmrcnet.sections").joinpath("panels.json").read_text("utf-8"))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("mine.txt", "# immune\nCD3E\n\n  CD8A  # killer\nCD3E\nGZMB\n"),
        ("mine", "\ufeffCD3E\r\nCD8A\r\nGZMB"),
        ("mine.csv", "weight,gene\n1,CD3E\n2,CD8A\n3,GZMB\n"),
        ("mine.csv", "CD3E,1\nCD8A,2\nGZMB,3\n"),
        ("mine.tsv", "Gene\tp\nCD3E\t1\nCD8A\t2\nGZMB\t3\n"),
        ("mine.csv", "group;names;scores\n0;CD3E;9,5\n0;CD8A;8,1\n0;GZMB;7\n"),
        ("mine.csv", "FeatureID,FeatureName,L2FC\nENSG1,CD3E,1\nENSG2,CD8A,1\nENSG3,GZMB,1\n"),
        ("mine.csv", "Gene stable ID,Gene name\nENSG1,CD3E\nENSG2,CD8A\nENSG3,GZMB\n"),
        ("mine.tsv", "HGNC ID\tApproved symbol\nHGNC:1\tCD3E\nHGNC:2\tCD8A\nHGNC:3\tGZMB\n"),
        ("mine.txt", "CD3E;0.9\nCD8A;0.8\nGZMB;1e-3\n"),
        ("mine.txt", '"CD3E"\n\'CD8A\'\n"GZMB"\n'),
        ("one.gmt", "mine\tabout\tCD3E\tCD8A\tGZMB\n"),
    ],
)
def test_a_panel_from_a_file(tmp_path, name, content):
    path = tmp_path / name
    path.write_text(content, "utf-8")
    panel = load_panel(path)
    assert panel.name == "mine"
    assert panel.genes == ("CD3E", "CD8A", "GZMB")


def test_one_set_of_several_is_chosen_by_name(tmp_path):
    path = tmp_path / "sets.gmt"
    path.write_text("T\tabout\tCD3E\nB\tabout\tCD19\tMS4A1\n")
    assert load_panel(f"{path}:B").genes == ("CD19", "MS4A1")
    with pytest.raises(UserError, match=r"2 gene sets \(T, B\); choose one as .*sets\.gmt:T"):
        load_panel(path)
    with pytest.raises(UserError, match="no gene set NK; it has T, B"):
        load_panel(f"{path}:NK")


def test_a_wrong_panel_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"neither a panel .*skcm.* nor a file"):
        load_panel("melanoma")
    path = tmp_path / "p.txt"
    path.write_text("# nothing\n")
    with pytest.raises(UserError, match="holds no gene"):
        load_panel(path)
    path.write_text("CD3E, CD8A\n")
    with pytest.raises(UserError, match="line 1: more than one gene"):
        load_panel(path)
    (tmp_path / "p.csv").write_text("gene\n" + 200_000 * "A")
    with pytest.raises(UserError, match=r"p\.csv is not a table of genes"):
        load_panel(tmp_path / "p.csv")
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not a readable text file"):
        load_panel(path)


def test_real_sections_share_their_genes(real_data):
    from napari_cmrcnet.sections.spots import open_spots

    sections = [
        SimpleNamespace(name=name, spots=open_spots(real_data / "her2st" / f"{name}.h5ad")) for name in ("C2", "C3")
    ]
    genes = highly_variable_genes(sections, n_top=1000)
    assert 1000 < len(genes) <= 2000
    assert genes == [gene for gene in shared_genes(sections) if gene in set(genes)]
    assert expression_of(sections[1].spots, genes).shape == (sections[1].spots.n_obs, len(genes))
