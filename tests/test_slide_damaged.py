"""Slide files that are missing, cut short, damaged or hostile: one clear sentence, and the process lives on."""

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import imagecodecs
import numpy as np
import openslide
import pytest
import tifffile
from PIL import Image

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.slides import checks, flat_source
from napari_cmrcnet.slides.patches import PatchSpec, read_patches, unreadable_error
from napari_cmrcnet.slides.slide import TileError, open_slide
from napari_cmrcnet.slides.tile_reader import TileCache

TILE = 128


pytestmark = pytest.mark.usefixtures("empty_cache")


def noise(height: int = 640, width: int = 640) -> np.ndarray:
    return np.random.default_rng(0).integers(60, 200, (height, width, 3), dtype=np.uint8)


def tiled(path: Path, compression: str = "jpeg") -> list[tuple[int, int]]:
    """Write a tiled TIFF and return offset and length of its 5 × 5 tiles."""
    tifffile.imwrite(path, noise(), photometric="rgb", tile=(TILE, TILE), compression=compression, metadata=None)
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        return list(zip(page.dataoffsets, page.databytecounts, strict=True))


def overwrite(path: Path, offset: int, data: bytes) -> None:
    with open(path, "r+b") as stream:
        stream.seek(offset)
        stream.write(data)


def hostile_tiff(side: int) -> bytes:
    """A TIFF of one tile of side² pixels in less than 170 bytes."""
    entries = [(256, side), (257, side), (258, 8), (259, 1), (262, 1), (277, 1)]
    entries += [(322, side), (323, side), (324, 8), (325, 1)]
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + directory + bytes(4) + bytes(29)


def lying_jpeg(data: bytes, side: int) -> bytes:
    """The same JPEG stream with a frame header that says side × side."""
    frame = data.index(b"\xff\xc0")
    return data[: frame + 5] + struct.pack(">HH", side, side) + data[frame + 9 :]


def one_sentence(error: pytest.ExceptionInfo[UserError], path: Path) -> bool:
    text = str(error.value)
    return str(path) in text and "\n" not in text and text.endswith(".")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.svs", b"", "is empty"),
        ("text.svs", b"barcode,x,y\nAAAC,1,2\n" * 20, "not a slide"),
        ("noise.tif", bytes(range(256)) * 20, "not a slide"),
        ("header.tif", b"II*\0", "damaged or cut short"),
        ("directory.tif", b"II*\0\x08\0\0\0\xff\xff", "damaged or cut short"),
        ("slide.mrxs", b"\xff\xd8\xff" + bytes(200), "damaged or cut short"),
        ("lost.mrxs", b"MIRAX" * 40, "needs the folder lost"),
        ("start.png", b"\x89PNG\r\n\x1a\n", "damaged or cut short"),
        ("hostile.tif", hostile_tiff(2**30), "1073741824 × 1073741824"),
        ("hostile.svs", hostile_tiff(2**16), "tiles of 65536"),
        ("bomb.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">2I", 2**31 - 1, 2**31 - 1), "too many"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_slide_is_refused(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError, match=words) as error:
        open_slide(path)
    assert one_sentence(error, path)


def test_a_missing_path_and_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        open_slide(tmp_path / "absent.svs")
    with pytest.raises(UserError, match="is an empty folder"):
        open_slide(tmp_path)


def test_a_hostile_tiff_does_not_end_the_process(tmp_path: Path) -> None:
    path = tmp_path / "hostile.tif"
    path.write_bytes(hostile_tiff(2**30))
    code = (
        "import sys; from napari_cmrcnet.slides.slide import open_slide\n"
        "try: open_slide(sys.argv[1])\n"
        "except Exception as error: print(type(error).__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "UserError")
    assert not done.stderr


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("name", ["slide.tif", "picture.png", "picture.jpg"])
def test_a_file_cut_short_is_refused(tmp_path: Path, name: str, keep: float) -> None:
    path = tmp_path / name
    if name.endswith("tif"):
        tiled(path)
    else:
        Image.fromarray(noise()).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(UserError, match="cut short") as error:
        open_slide(path)
    assert one_sentence(error, path)


@pytest.mark.parametrize("compression", ["jpeg", "deflate", "zstd", "lzw", "jpeg2000"])
def test_a_damaged_tile_is_told_by_regions_and_patches(tmp_path: Path, compression: str) -> None:
    path = tmp_path / "slide.tif"
    offset, length = tiled(path, compression)[12]  # the middle one
    overwrite(path, offset, np.random.default_rng(1).bytes(length))
    with open_slide(path) as slide:
        with pytest.raises(TileError, match=r"slide\.tif has a damaged tile \(level 0, row 2, column 2: "):
            slide.read_region(300, 300, 20, 20)
        assert slide.read_region(0, 0, 256, 640).shape == (640, 256, 3)
        assert slide.thumbnail(100).shape == (100, 100, 3)
        centres = np.arange(5) * TILE + TILE / 2
        xy = np.stack(np.meshgrid(centres, centres), -1).reshape(-1, 2)
        batches = list(read_patches(slide, xy, PatchSpec(64, 0.5), 0.5, batch_size=7))
        section: Any = SimpleNamespace(slide=slide, xy=xy, spots=SimpleNamespace(obs_names=np.arange(25).astype(str)))
        message = str(unreadable_error(section, [12]))
    assert sorted(np.concatenate([batch.rows for batch in batches])) == list(range(25))
    assert np.concatenate([batch.unreadable for batch in batches]).tolist() == [12]
    for batch in batches:
        for row, pixels in zip(batch.rows, batch.pixels, strict=True):
            assert (pixels == 255).all() == (row == 12)
    assert message.startswith(f"1 of 25 patches of {path} could not be read")


def test_a_damaged_tile_of_openslide_does_not_spoil_the_others(real_data: Path, tmp_path: Path) -> None:
    source = real_data / "slides" / "CMU-1-Small-Region.svs"
    path = tmp_path / "damaged.svs"
    path.write_bytes(source.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        offset, length = page.dataoffsets[11], page.databytecounts[11]  # row 1, column 1
    overwrite(path, offset, bytes(length))
    from napari_cmrcnet.slides.openslide_source import OpenSlideSource

    damaged, whole = OpenSlideSource(path), OpenSlideSource(source)
    for _ in range(2):
        with pytest.raises(openslide.OpenSlideError):
            damaged.read_tile(0, 1, 1)
        np.testing.assert_array_equal(damaged.read_tile(0, 2, 2), whole.read_tile(0, 2, 2))
    damaged.close()
    whole.close()


@pytest.mark.parametrize("compression", ["jpeg", "jpeg2000"])
def test_a_tile_that_lies_about_its_size_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compression: str
) -> None:
    path = tmp_path / "slide.tif"
    offset, length = tiled(path, compression)[0]
    data = path.read_bytes()[offset : offset + length]
    if compression == "jpeg":
        overwrite(path, offset, lying_jpeg(data, 20_000))
    else:
        overwrite(path, offset + 8, struct.pack(">2I", 20_000, 20_000))
    decoded: list[int] = []
    decode = imagecodecs.jpeg_decode
    monkeypatch.setattr(imagecodecs, "jpeg_decode", lambda *a, **k: decoded.append(1) or decode(*a, **k))
    with open_slide(path) as slide:
        with pytest.raises(TileError, match="claims 20000 × 20000"):
            slide.read_region(0, 0, 10, 10)
        assert not decoded
        assert slide.read_region(300, 300, 10, 10).shape == (10, 10, 3)
        assert decoded or compression != "jpeg", "an honest tile is decoded, so the check above means something"


def test_a_deflate_tile_that_expands_beyond_its_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "slide.tif"
    offset, length = tiled(path, "deflate")[0]
    bomb = imagecodecs.zlib_encode(bytes(30_000_000))
    assert len(bomb) <= length
    overwrite(path, offset, bomb)
    with open_slide(path) as slide, pytest.raises(TileError):
        slide.read_region(0, 0, 10, 10)


def test_a_printers_jpeg_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "print.jpg"
    Image.fromarray(noise()).convert("CMYK").save(path)
    with pytest.raises(UserError, match="CMYK"):
        open_slide(path)


def claiming(path: Path, tag: int, value: int) -> None:
    """Let the first page of a classic TIFF claim another width (256) or height (257)."""
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages[0].tags[tag].valueoffset
        size = {3: "<H", 4: "<I"}[int(tiff.pages[0].tags[tag].dtype)]
    overwrite(path, offset, struct.pack(size, value))


@pytest.mark.parametrize("tag", [256, 257])
@pytest.mark.parametrize("tile", [(TILE, TILE), None])
@pytest.mark.timeout(60)
def test_a_header_that_claims_more_pixels_than_there_are_tiles(
    tmp_path: Path, tag: int, tile: tuple[int, int] | None
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, noise(), photometric="rgb", tile=tile, rowsperstrip=None if tile else 64, metadata=None)
    claiming(path, tag, 60_000)
    if tag == 256 and tile is None:  # strips are as long as the image is wide: they are cut short
        with open_slide(path) as slide, pytest.raises(TileError):
            slide.read_region(0, 0, 64, 64)
        return
    with pytest.raises(UserError, match=r"pixels, but lists only \d+ of the [\d,]+ (tiles|strips)") as caught:
        open_slide(path)
    assert one_sentence(caught, path)


def test_no_overview_is_built_of_what_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((2048, 2048, 3), np.uint8), photometric="rgb", tile=(512, 512), compression="zstd")
    monkeypatch.setattr(flat_source, "SHOWN_PIXELS", 2**20)
    monkeypatch.setattr(checks, "ALWAYS_BELIEVED", 2**20)
    with pytest.raises(UserError, match="which no slide takes") as caught:
        open_slide(path)
    assert one_sentence(caught, path)
    assert not list((tmp_path / "cache").rglob("*.tif"))


def test_a_picture_that_claims_more_pixels_than_its_file_can_hold_takes_no_memory(tmp_path: Path) -> None:
    path, written = tmp_path / "a.png", io.BytesIO()
    Image.new("RGB", (64, 64)).save(written, "PNG")
    data = bytearray(written.getvalue())
    struct.pack_into(">II", data, 16, 32768, 32768)
    struct.pack_into(">I", data, 29, zlib.crc32(data[12:29]))
    path.write_bytes(data)
    with pytest.raises(UserError, match="claims 32768 × 32768 pixels in"):
        open_slide(path)


def test_a_size_of_several_numbers_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((64, 64, 3), np.uint8), tile=(64, 64), photometric="rgb")
    with tifffile.TiffFile(path) as tiff:
        entry = tiff.pages[0].tags["TileWidth"].offset
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, entry + 4, 2)
    path.write_bytes(data)
    with pytest.raises(UserError, match="is damaged or cut short"):
        open_slide(path)


def test_a_jpeg_that_decodes_to_another_size_than_its_header_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(noise(128, 128)).save(path)
    for decoded in (noise(128, 120), noise(0, 0)):
        monkeypatch.setattr(imagecodecs, "jpeg_decode", lambda _, decoded=decoded: decoded)
        with pytest.raises(UserError, match="its header claims 128 × 128 pixels, but it holds") as caught:
            open_slide(path)
        assert one_sentence(caught, path)


def test_a_tile_of_another_size_than_its_place_is_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.tif"
    tiled(path)
    with open_slide(path) as slide:
        monkeypatch.setattr(slide.source, "read_tile", lambda *_: noise(TILE, 7))
        with pytest.raises(TileError, match="holds 7 × 128 pixels"):
            slide.read_region(0, 0, 64, 64)


def test_a_tile_that_there_was_no_memory_for_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it is shown white, and its patches are called unreadable."""
    path = tmp_path / "a.tif"
    tiled(path)
    with open_slide(path) as slide:
        monkeypatch.setattr(slide.source, "_decode", Mock(side_effect=MemoryError))
        with pytest.raises(MemoryError):
            slide.read_region(0, 0, 64, 64)


def test_a_slide_that_may_not_be_read_is_not_called_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.tif"
    tiled(path)
    for error, words in ((PermissionError(13, "Permission denied"), "permissions"), (OSError(5, "I/O error"), "share")):
        monkeypatch.setattr(tifffile, "TiffFile", Mock(side_effect=error))
        with pytest.raises(UserError, match=words) as caught:
            open_slide(path)
        assert "damaged" not in str(caught.value)


def test_a_tile_that_is_put_out_while_it_is_decoded_does_not_make_room_for_more() -> None:
    """Another thread asks between the end of a decoding and its entry in the cache."""
    cache, decoded = TileCache(2_400), []

    def decode(level: int, row: int, column: int) -> np.ndarray:
        decoded.append(column)
        return np.zeros((20, 20, 3), np.uint8)  # 1,200 bytes: two fit

    class Late:
        """The cache's lock, which another thread gets first, once."""

        def __init__(self) -> None:
            self.lock, self.waits = cache._lock, 2

        def __enter__(self) -> None:
            self.waits -= 1
            if self.waits == 0:
                for column in (1, 2, 3):
                    cache.get((0, 0, column), decode)
            self.lock.acquire()

        def __exit__(self, *_: object) -> None:
            self.lock.release()

    cache._lock = Late()  # type: ignore[assignment]
    cache.get((0, 0, 0), decode)
    for column in (4, 5, 6, 4):
        cache.get((0, 0, column), decode)
    assert decoded == [0, 1, 2, 3, 4, 5, 6, 4]  # the fourth is not kept beside the sixth


def test_the_cache_stays_within_its_bytes_and_remembers_damage() -> None:
    cache, asked = TileCache(10_000), []

    def decode(level: int, row: int, column: int) -> np.ndarray:
        asked.append(column)
        if column == 99:
            raise TileError("damaged")
        return np.zeros((20, 20, 3), np.uint8)  # 1,200 bytes: eight fit

    for column in [*range(8), *range(8)]:
        cache.get((0, 0, column), decode)
    assert asked == list(range(8))
    for column in range(8, 40):
        cache.get((0, 0, 0), decode)  # used again and again, so it stays
        cache.get((0, 0, column), decode)
    assert asked.count(0) == 1
    for _ in range(3):
        with pytest.raises(TileError):
            cache.get((0, 0, 99), decode)
    assert asked.count(99) == 1
