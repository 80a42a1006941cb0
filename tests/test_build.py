"""Models from public data: from nothing to a prediction, over stops and kills. The site is a server on this machine."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import anndata
import pytest

from forked import Forked
from napari_cmrcnet.catalogue import build as building
from napari_cmrcnet.catalogue.build import build, building_folder
from napari_cmrcnet.catalogue.fetch import fetch
from napari_cmrcnet.catalogue.left_out import LeftOut
from napari_cmrcnet.catalogue.recipe import entries, recipe_from
from napari_cmrcnet.catalogue.user_models import models_folder
from napari_cmrcnet.cli import main
from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import Progress, finish
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.sections.sheet import read_sheet
from published import git_sum, publish_her2st, publish_visium
from web_site import Site

pytestmark = pytest.mark.usefixtures("own_models")
SECTIONS = {"A1": "A", "A2": "A", "B1": "B"}
BUILD = """
import json, os, signal, sys
from pathlib import Path
from napari_cmrcnet.catalogue.build import build
from napari_cmrcnet.catalogue.recipe import recipe_from
recipe = recipe_from("her2st", json.loads(Path(sys.argv[1]).read_text()))
def job(last):
    for progress in build(recipe, Path(sys.argv[2]), "cpu"):
        if progress.step.startswith(last):
            os.kill(os.getpid(), signal.SIGKILL)
"""


def test_from_nothing_to_a_prediction(
    site: Site, own_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(entries(), "her2st", publish_her2st(site, SECTIONS))
    site.breaks_after = 2_000  # every first connection is cut
    assert main(["models", "build", "her2st", "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert "Mean PCC with each patient left out in turn: HEG" in said
    assert "48 bank spots, 24 genes" in said
    folder = own_models / "her2st.building"
    rows = read_sheet(folder / "data" / "sections.csv")
    assert [(row.section, row.patient) for row in rows] == list(SECTIONS.items())
    scores = {name: json.loads((folder / "left_out" / f"{name}.json").read_text()) for name in "AB"}
    assert {name: list(of) for name, of in scores.items()} == {"A": ["A1", "A2"], "B": ["B1"]}
    assert sorted(path.name for path in (folder / "left_out").iterdir()) == ["A.json", "B.json"]
    site.refuses = True  # nothing is asked of it any more
    out = tmp_path / "A2.h5ad"
    slide, spots = str(rows[1].slide), str(rows[1].spots)
    assert main(["predict", "--checkpoint", "her2st", "--slide", slide, "--spots", spots, "--out", str(out)]) == 0
    assert out.is_file()
    capsys.readouterr()
    assert main(["info", "her2st"]) == 0
    assert "trained on A1, A2, B1" in " ".join(capsys.readouterr().out.split())
    assert main(["models"]) == 0
    shown = capsys.readouterr().out
    assert f"Your models, in {models_folder()}" in shown
    assert re.search(r"uni2-h .*histology .*CC-BY-NC-ND-4\.0 .*login", shown)
    assert main(["models", "build", "her2st", "--device", "cpu"]) == 0  # done already: read again


def test_killed_in_each_stage_it_goes_on(site: Site, tmp_path: Path, forked: Forked) -> None:
    entry = publish_her2st(site, SECTIONS)
    (tmp_path / "entry.json").write_text(json.dumps(entry))
    out = tmp_path / "her2st.cmrcnet"
    asked: list[int] = []
    jobs = forked(BUILD, tmp_path / "entry.json", out)
    for stage in (
        "Downloading",
        "Opening",
        "Without patient B",  # that without A is done
        "Training on all: projecting expression",
    ):
        list(jobs.run(stage))
        assert jobs.code == -9, stage
        assert not out.exists()
        asked.append(sum(command == "GET" for command, _, _ in site.asked))
    assert asked[1] == asked[-1]  # once received nothing is asked again
    steps: list[str] = []
    model, left_out = finish(
        build(recipe_from("her2st", entry), out, "cpu"), lambda progress: steps.append(progress.step)
    )
    assert not [step for step in steps if step.startswith(("Downloading", "Without"))]
    assert set(model.card.patients) == {"A", "B"}
    data, encoder = model.card.terms
    assert "licence CC BY 4.0, by the recipe her2st" in data
    assert "licence Apache-2.0" in encoder
    straight = _built(site, tmp_path / "straight")
    assert left_out == straight[1]
    assert model.card.files["model.safetensors"] == straight[0].card.files["model.safetensors"]


def _built(site: Site, folder: Path) -> tuple[Checkpoint, LeftOut]:
    return finish(build(recipe_from("her2st", publish_her2st(site, SECTIONS)), folder / "m.cmrcnet", "cpu"))


@pytest.mark.parametrize("checksums", [True, False])
def test_a_visium_section_as_it_is_published(site: Site, tmp_path: Path, checksums: bool) -> None:
    recipe = recipe_from("visium", publish_visium(site, "V1_Small", tmp_path, checksums))
    job = fetch(recipe, tmp_path / "data")
    while not next(job).step.startswith("Unpacking"):
        pass
    job.close()  # before the archive is unpacked
    sheet = finish(fetch(recipe, tmp_path / "data"))
    (row,) = read_sheet(sheet)
    with row.open().slide:
        section = row.open()
        assert section.spots.shape == (16, 24)
        assert section.patient == "of V1_Small"
        section.slide.close()
    assert not list((tmp_path / "data").rglob("*.part"))


def test_one_section_is_not_called_validated(site: Site, tmp_path: Path) -> None:
    recipe = recipe_from("visium", publish_visium(site, "V1_Small", tmp_path))
    _, left_out = finish(build(recipe, tmp_path / "v.cmrcnet", "cpu"))
    assert left_out.by == ""
    assert left_out.words.startswith("There is only one section, so how well")


def test_a_download_that_is_stopped_goes_on_within_the_file(site: Site, tmp_path: Path) -> None:
    recipe = recipe_from("visium", publish_visium(site, "V1_Small", tmp_path))
    site.pause = 0.02
    job = fetch(recipe, tmp_path / "data")
    while not (progress := next(job)).done:
        pass
    job.close()
    assert progress.unit == "kB"
    site.asked.clear()
    site.pause = 0
    finish(fetch(recipe, tmp_path / "data"))
    assert any(asked for command, _, asked in site.asked if command == "GET")


def test_a_repository_that_has_changed_is_told(site: Site, tmp_path: Path) -> None:
    entry = publish_her2st(site, SECTIONS)
    recipe = recipe_from("her2st", entry)
    place = next(path for path in site.files if "ST-imgs" in path)
    site.files[place] = site.files[place][:-1] + b"!"
    with pytest.raises(UserError, match=r"ST-imgs/A1\.jpg of her2st in small is not the file that was published"):
        finish(fetch(recipe, tmp_path / "a"))
    place = "/repos/almaan/her2st/git/trees/master?recursive=1"
    listed = json.loads(site.files[place])
    site.files[place] = json.dumps(listed | {"tree": listed["tree"][:-1]}).encode()
    with pytest.raises(UserError, match=r"https://x has no data/ST-spotfiles/B1_selection\.tsv any more"):
        finish(fetch(recipe, tmp_path / "b"))
    for answer in (b"<html>", b"[]", b"{}", json.dumps(listed | {"truncated": True}).encode()):
        site.files[place] = answer
        with pytest.raises(UserError, match="does not answer with a list of files"):
            finish(fetch(recipe, tmp_path / "c"))
    site.refuses = True
    with pytest.raises(UserError, match=r"could not be downloaded from 127\.0\.0\.1 \(it answers 403"):
        finish(fetch(recipe, tmp_path / "d"))


def test_a_real_section_of_the_study(site: Site, tmp_path: Path, real_data: Path) -> None:
    entry = publish_her2st(site, {"C2": "C"})
    raw, prefix = real_data / "her2st" / "raw", "/almaan/her2st/master/data/"
    names = {"ST-cnts/C2.tsv.gz": "C2.tsv.gz", "ST-spotfiles/C2_selection.tsv": "C2_selection.tsv",
             "ST-imgs/C/C2/5714_HE_BT_C2.jpg": "5714_HE_BT_C2.jpg"}  # fmt: skip
    place = "/repos/almaan/her2st/git/trees/master?recursive=1"
    listed = json.loads(site.files[place])
    listed["tree"] = []
    for path, name in names.items():
        content = site.files[prefix + path] = (raw / name).read_bytes()
        listed["tree"].append({"path": f"data/{path}", "type": "blob", "sha": git_sum(content), "size": len(content)})
    site.files[place] = json.dumps(listed).encode()
    (row,) = read_sheet(finish(fetch(recipe_from("her2st", entry), tmp_path)))
    section = row.open()
    with section.slide:
        assert section.mpp == pytest.approx(0.688, abs=0.01)
        assert section.patient == "C"
        assert section.spots.n_obs == len(anndata.read_h5ad(real_data / "her2st" / "C2.h5ad", backed="r"))


def test_names_on_a_site_lead_to_no_other_place(site: Site, tmp_path: Path) -> None:
    """What the repository calls a picture is never the name of a file here."""
    entry = publish_her2st(site, {"A1": "A"})
    place = "/repos/almaan/her2st/git/trees/master?recursive=1"
    listed = json.loads(site.files[place])
    for one in listed["tree"]:
        if one["path"].endswith(".jpg"):
            was = one["path"]
            one["path"] = "data/ST-imgs/A/A1/../../../../../../out.jpg"
            site.files["/almaan/her2st/master/" + one["path"]] = site.files[
                f"/almaan/her2st/master/{was}".replace(" ", "%20")
            ]
    site.files[place] = json.dumps(listed).encode()
    finish(fetch(recipe_from("her2st", entry), tmp_path / "in" / "data"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]
    assert (tmp_path / "in" / "data" / "ST-imgs" / "A1.jpg").is_file()


def test_what_is_there_of_another_is_left_alone(site: Site, tmp_path: Path) -> None:
    recipe = recipe_from("her2st", publish_her2st(site, SECTIONS))
    out = tmp_path / "m.cmrcnet"
    out.mkdir()
    with pytest.raises(UserError, match="exists and was not built here"):
        finish(build(recipe, out))
    out.rmdir()
    job = build(recipe, out)
    next(job)
    job.close()
    assert (building_folder(out) / building.BEGUN).is_file()
    other = recipe_from("visium", publish_visium(site, "V1_Small", tmp_path))
    with pytest.raises(UserError, match=r"was started by another recipe \(her2st\)"):
        finish(build(other, out))


def test_steps_say_what_they_are_a_part_of() -> None:
    def job() -> Iterator[Progress]:
        yield Progress("Encoding patches", 1, 2, "patches")
        return 3  # type: ignore[return-value]

    from napari_cmrcnet.common.progress import within

    seen: list[Progress] = []
    assert finish(within("Without A", job()), seen.append) == 3  # type: ignore[arg-type]
    assert seen == [Progress("Without A: encoding patches", 1, 2, "patches")]
