"""Checkpoints as one file, the user's folder of models, and indexes of a laboratory."""

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from napari_cmrcnet.catalogue.index import add_model, offer, read_index
from napari_cmrcnet.catalogue.packing import pack, unpack_model
from napari_cmrcnet.catalogue.user_models import find_model, models_folder, place_of, user_models
from napari_cmrcnet.cli import main
from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.files import sha256
from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.common.sample import sample_folder
from napari_cmrcnet.retrieval.card import CARD, MODEL
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from web_site import Site

pytestmark = pytest.mark.usefixtures("own_models")
SAMPLE = sample_folder() / "sample.cmrcnet"


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("packed") / "tumour.cmrcnet.zip"
    finish(pack(SAMPLE, path))
    return path


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_a_packed_model_is_the_same_model(packed: Path, own_models: Path, tmp_path: Path) -> None:
    path = finish(add_model(str(packed), checksum=sha256(packed).upper()))
    assert path == own_models / "tumour.cmrcnet"
    assert Checkpoint.load(path).digest == Checkpoint.load(SAMPLE).digest
    assert user_models() == {"tumour": path}
    assert find_model(Path("tumour")) == find_model(Path("tumour.cmrcnet")) == path
    assert find_model(Path("other")) == Path("other")
    assert find_model(tmp_path / "tumour") == tmp_path / "tumour"  # a path is no name
    with pytest.raises(UserError, match=r"tumour\.cmrcnet is there already; remove it .*--name"):
        finish(add_model(str(packed)))
    assert finish(add_model(str(packed), "second")).name == "second.cmrcnet"
    again = tmp_path / "again.cmrcnet.zip"
    assert finish(pack(path, again)) == sha256(packed)  # the same model, the same file


def test_pictures_of_patients_can_be_left_out(tmp_path: Path) -> None:
    finish(pack(SAMPLE, tmp_path / "bare.zip", thumbnails=False))
    path = finish(add_model(str(tmp_path / "bare.zip")))
    assert not (path / "thumbnails.h5").exists()
    Checkpoint.load(path)


def test_a_changed_model_is_not_packed(tmp_path: Path) -> None:
    copy = Path(shutil.copytree(SAMPLE, tmp_path / "m.cmrcnet"))
    (copy / MODEL).write_bytes((copy / MODEL).read_bytes()[:-1] + b"!")
    with pytest.raises(UserError, match="was changed or damaged"):
        finish(pack(copy, tmp_path / "m.zip"))
    assert left(tmp_path) == ["m.cmrcnet"]


def _rewritten(packed: Path, path: Path, change: Callable[[zipfile.ZipFile, dict[str, bytes]], None]) -> Path:
    with zipfile.ZipFile(packed) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        change(archive, content)
        for name, data in content.items():
            archive.writestr(name, data)
    return path


def _out(archive: zipfile.ZipFile, content: dict[str, bytes]) -> None:
    archive.writestr("../../out.txt", b"x")


def _pickle(archive: zipfile.ZipFile, content: dict[str, bytes]) -> None:
    archive.writestr("model.pkl", b"x")


def _twice(archive: zipfile.ZipFile, content: dict[str, bytes]) -> None:
    archive.writestr(CARD, content[CARD])
    with pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr(CARD, content.pop(CARD))


def _bomb(archive: zipfile.ZipFile, content: dict[str, bytes]) -> None:
    archive.writestr(MODEL, b"\0" * 10**7, zipfile.ZIP_DEFLATED)
    del content[MODEL]


def _half(archive: zipfile.ZipFile, content: dict[str, bytes]) -> None:
    del content[MODEL]


def _changed(archive: zipfile.ZipFile, content: dict[str, bytes]) -> None:
    content[MODEL] = content[MODEL][:-1] + b"!"


def _card(archive: zipfile.ZipFile, content: dict[str, bytes]) -> None:
    content[CARD] = b'{"files": {"../../x": "0"}}'


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_out, r"'\.\./\.\./out\.txt' does not belong in one"),
        (_pickle, r"'model\.pkl' does not belong in one"),
        (_twice, "is not a complete packed model"),
        (_bomb, "was not packed by this software"),
        (_half, "is not a complete packed model"),
        (_changed, r"model\.safetensors was changed or damaged"),
        (_card, "holds no usable model"),
    ],
)
def test_what_does_not_belong_in_a_model_is_refused(
    packed: Path, own_models: Path, tmp_path: Path, change: Callable[..., None], said: str
) -> None:
    path = _rewritten(packed, tmp_path / "odd.zip", change)
    with pytest.raises(UserError, match=said):
        finish(add_model(str(path)))
    assert left(own_models) == []
    assert left(tmp_path) in (["odd.zip"], ["models", "odd.zip"])


def test_a_model_that_was_not_packed_is_told_how(own_models: Path, tmp_path: Path) -> None:
    (tmp_path / "m.cmrcnet").mkdir()
    with pytest.raises(UserError, match=r"m\.cmrcnet is a folder, not a packed model; pack it first \(models pack\)"):
        finish(add_model(str(tmp_path / "m.cmrcnet")))
    (tmp_path / "C4.h5ad").write_bytes(b"no zip")
    sentence = r"C4\.h5ad is not a packed model, or only part of one; give the \.cmrcnet\.zip that models pack wrote\.$"
    with pytest.raises(UserError, match=sentence):
        finish(add_model(str(tmp_path / "C4.h5ad")))
    assert left(own_models) == []


def test_a_file_that_is_cut_anywhere_is_refused(packed: Path, own_models: Path, tmp_path: Path) -> None:
    content, path = packed.read_bytes(), tmp_path / "cut.zip"
    for size in (0, 10, len(content) // 2, len(content) - 30, len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(UserError, match=r"cut\.zip"):
            finish(add_model(str(path)))
    damaged = bytearray(content)
    damaged[len(content) // 2] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(UserError, match=r"is damaged|was changed or damaged"):
        finish(add_model(str(path)))
    assert left(own_models) == []


def test_a_cancelled_unpacking_leaves_nothing(packed: Path, own_models: Path) -> None:
    job = unpack_model(packed, place_of("x"))
    next(job)
    job.close()
    assert left(own_models) == []


@pytest.mark.parametrize("name", ["../x", "a/b", "CON", ".x", ""])
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(UserError, match="cannot name a file"):
        place_of(name)


def test_a_laboratory_offers_its_models(
    packed: Path, own_models: Path, site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lab = tmp_path / "lab"
    (lab / "files").mkdir(parents=True)
    file, index = lab / "files" / "gut.cmrcnet.zip", lab / "index.json"
    command = ["models", "pack", str(SAMPLE), "--out", str(file), "--index", str(index), "--licence", "CC0"]
    assert main([*command, "--about", "gut, 3 patients"]) == 0
    assert f"SHA-256 {sha256(packed)}" in capsys.readouterr().out
    assert json.loads(index.read_text())["models"] == [
        {"name": "gut", "address": "files/gut.cmrcnet.zip", "sha256": sha256(packed),
         "size": packed.stat().st_size, "licence": "CC0", "about": "gut, 3 patients"}
    ]  # fmt: skip
    url, _ = site.publish("lab/index.json", index.read_bytes())
    site.publish("lab/files/gut.cmrcnet.zip", file.read_bytes())
    site.breaks_after = 100_000
    assert main(["models", "add", url]) == 0
    assert "gut, 3 patients" in capsys.readouterr().out
    assert left(own_models) == []
    assert main(["models", "add", url, "--name", "lung"]) == 1
    assert "offers no lung" in capsys.readouterr().err
    assert main(["models", "add", url, "--name", "gut"]) == 0
    assert left(own_models) == ["gut.cmrcnet"]
    assert main(["models", "add", str(index), "--name", "gut"]) == 1  # it is there
    shutil.rmtree(own_models / "gut.cmrcnet")
    assert main(["models", "add", str(index), "--name", "gut"]) == 0  # of the index on this disk
    assert main(["models", "add", f"{site.address}/lab/files/gut.cmrcnet.zip", "--name", "by_address"]) == 0
    assert left(own_models) == ["by_address.cmrcnet", "gut.cmrcnet"]


def test_a_model_that_was_not_unpacked_before_a_stop_is_not_received_again(
    packed: Path, own_models: Path, site: Site
) -> None:
    url, checksum = site.publish("a.cmrcnet.zip", packed.read_bytes())
    offered = (url, "a", checksum, packed.stat().st_size)
    job = add_model(*offered)
    while next(job).step != "Unpacking":
        pass
    job.close()
    site.asked.clear()
    model = finish(add_model(*offered))
    assert site.asked == []
    assert list(own_models.iterdir()) == [model]


def test_a_received_model_must_be_the_one_of_the_index(packed: Path, own_models: Path, site: Site) -> None:
    url, _ = site.publish("a.cmrcnet.zip", packed.read_bytes())
    with pytest.raises(UserError, match="not the file that was published"):
        finish(add_model(url, "a", "0" * 64, packed.stat().st_size))
    site.publish("b.zip", b"<html>not found</html>")
    with pytest.raises(UserError, match="is not a packed model"):
        finish(add_model(f"{site.address}/b.zip"))
    with pytest.raises(UserError, match="the address of one, which begins with https"):
        finish(add_model("ftp://127.0.0.1/x.zip"))
    assert left(own_models) == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "is not an index of models"),
        (b"[]", "is not an index of models: is not an object"),
        (b'{"cmrcnet_index": 2, "models": []}', "has cmrcnet_index: 2, which should be 1"),
        (b'{"cmrcnet_index": 1}', "lacks the entry 'models'"),
        (b'{"cmrcnet_index": 1, "models": [{"name": "a"}]}', "lacks the entry 'models.0.address'"),
    ],
)
def test_what_is_no_index_is_told(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "index.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=said):
        read_index(str(path))


def test_an_index_of_a_site_names_nothing_on_this_computer(site: Site) -> None:
    for address in ("file:///etc/passwd", "../../x.zip"):
        one = {"name": "a", "address": address, "sha256": "0" * 64, "size": 1, "licence": "", "about": ""}
        url, _ = site.publish("index.json", json.dumps({"cmrcnet_index": 1, "models": [one]}).encode())
        if address.startswith("file:"):
            with pytest.raises(UserError, match="which is not the address of a site"):
                read_index(url)
        else:
            assert read_index(url)["a"].address == f"{site.address}/x.zip"


def test_an_index_lists_what_lies_beside_it(packed: Path, tmp_path: Path) -> None:
    (tmp_path / "lab").mkdir()
    with pytest.raises(UserError, match="is not beside the index"):
        offer(tmp_path / "lab" / "index.json", packed, "0" * 64, "", "")
    assert models_folder().name == "models"
