"""Pictures of the bank spots: each is that of its row, and a file that is not what it says is refused."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.retrieval.thumbnails import Thumbnails, write_thumbnails

N = 10


def patches(side: int = 96) -> NDArray[np.uint8]:
    """Draw patches of one colour each, the left half darker."""
    colours = np.random.default_rng(0).integers(90, 220, (N, 1, 1, 3))
    pixels = np.broadcast_to(colours, (N, side, side, 3)).astype(np.uint8)
    pixels[:, :, : side // 2] -= 60
    return pixels


def blocks(pixels: NDArray[np.uint8], size: int = 4) -> Any:
    return (pixels[start : start + size] for start in range(0, len(pixels), size))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of thumbnails, to be damaged."""
    finish(write_thumbnails(tmp_path / "thumbnails.h5", blocks(patches()), N))
    return tmp_path / "thumbnails.h5"


def forge(path: Path, pictures: list[bytes], side: Any = 64, **how: Any) -> None:
    with h5py.File(path, "w") as file:
        file.attrs["side"] = side
        file.create_dataset("jpeg", data=np.frombuffer(b"".join(pictures), np.uint8), **how)
        file["offsets"] = np.cumsum([0, *map(len, pictures)])


def jpeg(size: tuple[int, int], mode: str = "RGB", **how: Any) -> bytes:
    content = io.BytesIO()
    Image.new(mode, size).save(content, how.pop("format", "JPEG"), **how)
    return content.getvalue()


def test_each_row_shows_its_patch(path: Path) -> None:
    thumbnails = Thumbnails.open(path)
    assert (len(thumbnails), thumbnails.side) == (N, 64)
    expected = patches(64).astype(int)  # a patch of two halves, shrunk
    rows = [7, 0, 7, 3]
    pixels = thumbnails.read(rows)
    assert pixels.shape == (4, 64, 64, 3)
    assert pixels.dtype == np.uint8
    inner = [slice(None), slice(8, -8), slice(4, 24)], [slice(None), slice(8, -8), slice(40, 60)]
    for part in map(tuple, inner):
        assert np.abs(pixels[part].astype(int) - expected[rows][part]).max() <= 6
    assert thumbnails.read([]).shape == (0, 64, 64, 3)


def test_patches_are_shrunk_by_averaging_their_areas(tmp_path: Path) -> None:
    checks = np.zeros((1, 128, 128, 3), np.uint8)
    checks[:, ::2, ::2] = checks[:, 1::2, 1::2] = 200
    finish(write_thumbnails(tmp_path / "t.h5", [checks], 1))
    assert np.abs(Thumbnails.open(tmp_path / "t.h5").read([0]).astype(int) - 100).max() <= 2


def test_patches_smaller_than_a_thumbnail_stay_as_small(tmp_path: Path) -> None:
    finish(write_thumbnails(tmp_path / "t.h5", blocks(patches(32)), N))
    assert Thumbnails.open(tmp_path / "t.h5").read([1]).shape == (1, 32, 32, 3)


def test_only_what_is_asked_for_is_decoded(path: Path) -> None:
    whole = Thumbnails.open(path)
    with h5py.File(path, "r+") as file:
        file["jpeg"][whole.offsets[4] : whole.offsets[5]] = 0
    before = whole.read([0, 1, 2, 3, 5, 6, 7, 8, 9])
    assert before.std() > 0
    with pytest.raises(UserError, match=r"thumbnails\.h5 is damaged"):
        whole.read([3, 4])


@pytest.mark.parametrize("row", [-1, N])
def test_a_row_that_is_not_there(path: Path, row: int) -> None:
    with pytest.raises(UserError, match=r"thumbnails\.h5 has pictures of 10 spots only"):
        Thumbnails.open(path).read([0, row])


@pytest.mark.parametrize(
    "picture",
    [
        lambda: jpeg((20_000, 20_000)),  # 1.2 GB, from a few hundred KB
        lambda: jpeg((64, 63)),
        lambda: jpeg((64, 64), "L"),
        lambda: jpeg((64, 64), "CMYK"),
        lambda: jpeg((64, 64), format="PNG"),
        lambda: jpeg((64, 64))[:-100],
        lambda: b"no picture",
    ],
    ids=["huge", "other size", "grey", "cmyk", "png", "cut short", "nothing"],
)
def test_a_picture_that_is_not_what_it_should_be_is_not_decoded(path: Path, picture: Callable[[], bytes]) -> None:
    forge(path, [picture()])
    with pytest.raises(UserError, match=r"thumbnails\.h5 is (damaged|not a file of thumbnails)"):
        Thumbnails.open(path).read([0])


def test_a_file_cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(UserError, match="damaged or cut short"):
        Thumbnails.open(path)


def change(what: str) -> Callable[[h5py.File], None]:
    """Return a change to a file that makes it harmful or senseless."""

    def offsets(values: Any) -> Callable[[h5py.File], None]:
        def replace(file: h5py.File) -> None:
            del file["offsets"]
            file["offsets"] = values

        return replace

    def unallocated(name: str, kind: str) -> Callable[[h5py.File], None]:
        def replace(file: h5py.File) -> None:
            del file[name]
            file.create_dataset(name, (10**12,), kind)  # a few bytes that claim to be terabytes

        return replace

    def packed(file: h5py.File) -> None:
        del file["jpeg"]
        file.create_dataset("jpeg", data=np.zeros(2**20, np.uint8), compression="gzip")

    def group(file: h5py.File) -> None:
        del file["jpeg"]
        file.create_group("jpeg")

    return {
        "no jpeg": lambda file: file.pop("jpeg"),
        "no offsets": lambda file: file.pop("offsets"),
        "no side": lambda file: file.attrs.pop("side"),
        "side of text": lambda file: file.attrs.__setitem__("side", "64"),
        "side of a wall": lambda file: file.attrs.__setitem__("side", 100_000),
        "group": group,
        "packed": packed,
        "endless jpeg": unallocated("jpeg", "u1"),
        "endless offsets": unallocated("offsets", "i8"),
        "offsets of text": offsets(["0", "1"]),
        "one offset": offsets(np.array([0])),
        "offsets backwards": offsets(np.array([0, 900, 800, 1000])),
        "offsets beyond": offsets(np.array([0, 10**6])),
        "offsets before": offsets(np.array([-10, 500])),
        "offsets in a matrix": offsets(np.array([[0, 500]])),
    }[what]


@pytest.mark.parametrize(
    "what",
    ["no jpeg", "no offsets", "no side", "side of text", "side of a wall", "group", "packed", "endless jpeg",
     "endless offsets", "offsets of text", "one offset", "offsets backwards", "offsets beyond", "offsets before",
     "offsets in a matrix"],
)  # fmt: skip
def test_a_file_of_another_make_is_refused_before_it_is_read(path: Path, what: str) -> None:
    with h5py.File(path, "r+") as file:
        change(what)(file)
    said = "claims .* but stores 0 bytes" if what.startswith("endless") else "is not a file of thumbnails"
    with pytest.raises(UserError, match=rf"thumbnails\.h5 {said}") as error:
        Thumbnails.open(path)
    assert "\n" not in str(error.value)


def test_pictures_stored_in_another_file_are_not_read(path: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"x" * 1000)
    with h5py.File(path, "r+") as file:
        del file["jpeg"]
        file.create_dataset("jpeg", (1000,), np.uint8, external=[(str(tmp_path / "secret"), 0, 1000)])
    with pytest.raises(UserError, match="stores /jpeg in other files"):
        Thumbnails.open(path)


def test_a_full_disk_leaves_nothing(tmp_path: Path, full_disk: Callable[[int], Any]) -> None:
    with full_disk(2000), pytest.raises(UserError, match=r"t\.h5 could not be written"):
        finish(write_thumbnails(tmp_path / "t.h5", blocks(patches()), N))
    assert list(tmp_path.iterdir()) == []


def test_cancelling_leaves_nothing(tmp_path: Path) -> None:
    job = write_thumbnails(tmp_path / "t.h5", blocks(patches()), N)
    assert [next(job).done for _ in range(3)] == [0, 4, 8]
    job.close()
    assert list(tmp_path.iterdir()) == []
