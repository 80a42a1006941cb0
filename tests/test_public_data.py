"""Public sections: whole and checked or not at all. The network is a server on this machine."""

import gzip
import hashlib
import io
import shutil
import socket
import tarfile
import threading
import time
from pathlib import Path

import pytest

from napari_cmrcnet.catalogue import public_data
from napari_cmrcnet.catalogue.public_data import PUBLIC_SECTIONS, PublicSection, download, to_receive
from napari_cmrcnet.common import public_files
from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import Progress, finish
from napari_cmrcnet.common.public_files import PublicFile, go_on_with_file, sizes_of
from napari_cmrcnet.evaluation.demo import sample_parts
from published import git_sum
from web_site import Site

PICTURE = bytes(range(256)) * 4000  # 1 MB


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CMRCNET_CACHE", str(tmp_path))
    return tmp_path / "public"


def archive() -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        for name in ("spatial/tissue_positions_list.csv", "../../../outside.csv"):
            member = tarfile.TarInfo(name)
            member.size = 3
            tar.addfile(member, io.BytesIO(b"a,b"))
        link = tarfile.TarInfo("spatial/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc"
        tar.addfile(link)
    return content.getvalue()


def section_of(site: Site, *also: str) -> PublicSection:
    """Return a section of a picture and an archive; ``also`` are copies of the picture's address."""
    picture, picture_sum = site.publish("image.tif", PICTURE)
    spatial, spatial_sum = site.publish("spatial.tar.gz", archive())
    files = (
        PublicFile("image.tif", (picture, *also), picture_sum),
        PublicFile("spatial.tar.gz", (spatial,), spatial_sum),
    )
    return PublicSection("tumour", "A tumour", "nobody, CC0", files, measured=True)


def download_size(section: PublicSection) -> int:
    return sum(finish(to_receive(section.title, section.files, section.folder)).values())


def left(cache: Path) -> list[str]:
    return sorted(str(path.relative_to(cache)) for path in cache.rglob("*") if path.is_file())


def test_a_section_is_downloaded_checked_and_unpacked_once(site: Site, cache: Path) -> None:
    section = section_of(site)
    assert download_size(section) == len(PICTURE) + len(archive())
    finish(download(section))
    assert section.slide.read_bytes() == PICTURE
    assert section.spots == cache / "tumour"
    assert left(cache) == ["tumour/image.tif", "tumour/spatial/outside.csv", "tumour/spatial/tissue_positions_list.csv"]
    site.asked.clear()
    finish(download(section))
    assert download_size(section) == 0
    assert site.asked == []  # what is there needs no network


def test_progress_counts_up_to_what_was_announced(site: Site) -> None:
    site.pause = 0.03
    reports: list[Progress] = []
    finish(download(section_of(site)), reports.append)
    counted = [report for report in reports if report.unit]
    assert len(counted) > 2
    assert counted[0].step == "Downloading A tumour"
    assert {report.total for report in counted} == {(len(PICTURE) + len(archive())) // 1000}
    done = [report.done for report in counted]
    assert done == sorted(done)
    assert 0 <= done[0] < done[-1] <= counted[0].total


@pytest.mark.parametrize("ranges", [True, False], ids=["goes on", "site sends all again"])
def test_a_broken_connection_is_taken_up_where_it_broke(site: Site, ranges: bool) -> None:
    site.breaks_after, site.ranges = 300_000, ranges
    section = section_of(site)
    finish(download(section))
    assert section.slide.read_bytes() == PICTURE
    assert ("GET", "/image.tif", "bytes=300000-") in site.asked


def test_a_copy_is_asked_where_the_first_place_refuses(site: Site) -> None:
    section = section_of(site)
    copy, _ = site.publish("copy/image.tif", PICTURE)
    picture = section.files[0]
    moved = PublicFile(picture.name, (f"{site.address}/gone.tif", copy), picture.sha256)
    section = PublicSection("tumour", "A tumour", "nobody, CC0", (moved, section.files[1]), measured=True)
    finish(download(section))
    assert section.slide.read_bytes() == PICTURE


def test_another_content_is_refused_and_thrown_away(site: Site, cache: Path) -> None:
    section = section_of(site)
    site.files["/image.tif"] = PICTURE[:-1] + b"!"
    with pytest.raises(UserError, match=r"image.tif of A tumour is not the file that was published .*\.$"):
        finish(download(section))
    assert left(cache) == []


def test_a_site_that_never_sends_all_is_told_and_what_came_is_kept(site: Site, cache: Path) -> None:
    section = section_of(site)
    site.files["/image.tif"] = PICTURE[:600_000]
    with pytest.raises(UserError, match=r"A tumour could not be downloaded from 127\.0\.0\.1 \("):
        list(go_on_with_file(section.title, section.files[0], cache / "image.tif", len(PICTURE)))
    (part,) = cache.iterdir()
    assert part.read_bytes() == PICTURE[:600_000]


def test_a_refusal_names_the_site_and_its_reason(site: Site) -> None:
    site.refuses = True
    with pytest.raises(UserError, match=r"^A tumour could not .* \(it answers 403 Forbidden\); check the connection"):
        finish(download(section_of(site)))


def test_without_a_network_there_is_one_sentence(cache: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    file = PublicFile("a.svs", (f"http://127.0.0.1:{port}/a.svs",), "0" * 64)
    section = PublicSection("slide", "A slide", "nobody, CC0", (file,), measured=False)
    for ask in (lambda: finish(download(section)), lambda: download_size(section)):
        with pytest.raises(UserError) as error:
            ask()
        assert "could not be downloaded from 127.0.0.1" in str(error.value)
        assert "\n" not in str(error.value)
    assert left(cache) == []


def test_a_site_that_says_nothing_is_given_up(site: Site, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    section = section_of(site)
    sizes = finish(sizes_of(section.title, section.files))
    monkeypatch.setattr(public_files, "TIMEOUT", 0.2)
    site.silence = 5.0  # much more: the machine may be busy
    with pytest.raises(UserError, match=r"no answer within 0\.2 s"):
        finish(download(section))
    with pytest.raises(UserError, match=r"no answer within 0\.2 s"):
        list(go_on_with_file(section.title, section.files[0], cache / "image.tif", sizes[section.files[0]]))


def test_a_site_that_does_not_say_a_size_is_refused(site: Site) -> None:
    section = section_of(site)
    site.says_size = False
    with pytest.raises(UserError, match="it does not say how large the file is"):
        download_size(section)


def test_certificates_are_found_where_the_system_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(public_files.ssl.SSLContext, "load_default_certs", lambda *_: None)
    assert public_files.certificates().cert_store_stats()["x509_ca"] > 100


def test_cancelled_within_a_file_the_next_download_goes_on_there(site: Site, cache: Path) -> None:
    site.pause = 0.5
    section = section_of(site)
    job = download(section)
    while not (report := next(job)).done:
        pass
    assert 0 < report.done < report.total
    job.close()
    (part,) = left(cache)
    assert part.endswith(".part")
    site.pause = 0.0
    site.asked.clear()
    finish(download(section))
    assert section.slide.read_bytes() == PICTURE
    assert ("GET", "/image.tif", None) not in site.asked  # it does not begin again
    assert not [name for name in left(cache) if name.endswith(".part")]


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1:9/x", "data:,x", "/nowhere", "http://[", ""])
def test_a_redirect_leads_nowhere_but_to_the_published_file(site: Site, cache: Path, target: str) -> None:
    site.redirect = target or f"{site.address}/image.tif"  # or in a circle
    with pytest.raises(UserError, match=r"could not be downloaded from 127\.0\.0\.1"):
        finish(download(section_of(site)))
    assert left(cache) == []


@pytest.mark.parametrize("size", [10, -1, 10**18])
def test_a_size_that_is_wrong_is_no_harm(site: Site, cache: Path, size: int) -> None:
    site.size = size
    with pytest.raises(UserError, match=r"checksum differs|has room for|does not say how large"):
        finish(download(section_of(site)))
    assert left(cache) == []


def test_what_is_sent_beyond_the_end_is_not_kept(site: Site) -> None:
    site.more = b"more" * 50_000
    section = section_of(site)
    finish(download(section))
    assert section.slide.read_bytes() == PICTURE


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_a_silent_site_is_left_at_once(site: Site, cache: Path, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, answer = public_files.ask, threading.Event()

    def slowly(url: str, start: int = 0, method: str = "GET") -> object:
        if method == wanted:
            answer.wait(100)
        return asked(url, start, method)

    wanted = method
    monkeypatch.setattr(public_files, "ask", slowly)
    job, slowest = download(section_of(site)), 0.0
    for _ in range(12):
        since = time.monotonic()
        next(job)
        slowest = max(slowest, time.monotonic() - since)
    since = time.monotonic()
    job.close()
    assert max(slowest, time.monotonic() - since) < 30
    answer.set()
    assert left(cache) == []


def test_files_that_were_complete_survive_a_later_failure(site: Site, cache: Path) -> None:
    section = section_of(site)
    good = site.files["/spatial.tar.gz"]
    site.files["/spatial.tar.gz"] = b"?" * len(good)
    with pytest.raises(UserError, match="not the file that was published"):
        finish(download(section))
    assert left(cache) == ["tumour/image.tif"]
    assert download_size(section) == len(good)


def test_a_full_disk_is_told_before_anything_is_downloaded(
    site: Site, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 5000})())
    with pytest.raises(UserError, match=r"A tumour has 1\.0 MB to download, but .* room for 5 kB; .*CMRCNET_CACHE"):
        finish(download(section_of(site)))
    assert left(cache) == []


def test_an_archive_that_was_not_unpacked_before_a_kill_is_not_received_again(site: Site, cache: Path) -> None:
    section = section_of(site)
    job = download(section)
    while next(job).step != "Unpacking spatial.tar.gz":
        pass
    job.close()
    assert left(cache) == ["tumour/image.tif", "tumour/spatial.tar.gz"]
    assert section.missing  # the section is not complete
    site.asked.clear()
    assert download_size(section) == 0
    finish(download(section))
    assert site.asked == []
    assert left(cache) == ["tumour/image.tif", "tumour/spatial/outside.csv", "tumour/spatial/tissue_positions_list.csv"]


def test_an_archive_that_a_kill_left_after_unpacking_is_removed(site: Site, cache: Path) -> None:
    section = section_of(site)
    finish(download(section))
    whole = left(cache)
    (cache / "tumour" / "spatial.tar.gz").write_bytes(archive())
    finish(download(section))
    assert left(cache) == whole


def test_the_user_is_asked_with_source_size_and_place_before_a_download(site: Site, cache: Path) -> None:
    from napari_cmrcnet.widgets import open_samples

    section = section_of(site)
    assert finish(open_samples.question_job(section)) == (
        f"A tumour (nobody, CC0) is 1.0 MB to download. It is kept in {cache / 'tumour'}. Download it now?"
    )


def test_the_synthetic_sample_is_at_hand() -> None:
    row, checkpoint = sample_parts()
    assert row.slide.is_file()
    assert row.spots.is_file()
    assert (checkpoint / "card.json").is_file()


def test_the_published_sections_have_checksums_and_lie_on_secure_sites() -> None:
    assert list(PUBLIC_SECTIONS) == ["Visium human breast cancer", "Visium human lymph node", "CMU-1 small region"]
    for section in PUBLIC_SECTIONS.values():
        for file in section.files:
            assert len(bytes.fromhex(file.sha256)) == 32
            assert all(url.startswith("https://") for url in file.urls)
        assert section.measured == ("filtered_feature_bc_matrix.h5" in [file.name for file in section.files])


def test_the_real_slide_has_the_published_checksum(real_data: Path) -> None:
    (file,) = PUBLIC_SECTIONS["CMU-1 small region"].files
    assert hashlib.sha256((real_data / "slides" / file.name).read_bytes()).hexdigest() == file.sha256


def test_a_stopped_file_goes_on_where_it_was(site: Site, tmp_path: Path) -> None:
    url, checksum = site.publish("image.tif", PICTURE)
    file = PublicFile("image.tif", (url,), checksum, git_sum(PICTURE))
    site.pause = 0.05
    job = go_on_with_file("A tumour", file, tmp_path / "new" / "image.tif", len(PICTURE))
    while not (received := next(job)):
        pass
    job.close()
    assert received < len(PICTURE)
    site.pause = 0.0
    site.asked.clear()
    list(go_on_with_file("A tumour", file, tmp_path / "new" / "image.tif", len(PICTURE)))
    assert (tmp_path / "new" / "image.tif").read_bytes() == PICTURE
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["image.tif"]
    start = int(site.asked[0][2].removeprefix("bytes=").rstrip("-"))  # type: ignore[union-attr]
    assert start >= received


@pytest.mark.parametrize("wrong", [{"sha256": "0" * 64}, {"git": "0" * 40}])
def test_a_part_that_comes_to_another_file_is_thrown_away(site: Site, tmp_path: Path, wrong: dict[str, str]) -> None:
    url, _ = site.publish("image.tif", PICTURE)
    with pytest.raises(UserError, match="not the file that was published"):
        list(go_on_with_file("A tumour", PublicFile("image.tif", (url,), **wrong), tmp_path / "a.tif", len(PICTURE)))
    assert list(tmp_path.iterdir()) == []


def test_a_file_without_a_published_checksum_is_taken_as_it_is(site: Site, tmp_path: Path) -> None:
    url, _ = site.publish("image.tif", PICTURE)
    file = PublicFile("image.tif", (url,))
    assert finish(sizes_of("A tumour", [file, PublicFile("b", (), size=7)])) == {
        file: len(PICTURE),
        PublicFile("b", (), size=7): 7,
    }
    list(go_on_with_file("A tumour", file, tmp_path / "a.tif", len(PICTURE)))
    assert (tmp_path / "a.tif").read_bytes() == PICTURE


def test_an_archive_that_is_damaged_or_too_large_is_thrown_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "spatial.tar.gz"
    for content in (archive()[:-40], b"no archive", gzip.compress(b"no folder")):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"spatial\.tar\.gz is not the right file \(.+\), and was deleted"):
            public_data.unpack(path, tmp_path / "spatial")
        assert list(tmp_path.iterdir()) == []
    path.write_bytes(archive())
    monkeypatch.setattr(public_data, "MOST_UNPACKED", 5)  # six are in it
    with pytest.raises(UserError, match=r"it holds more than 1 kB\), and was deleted"):
        public_data.unpack(path, tmp_path / "spatial")
    assert list(tmp_path.iterdir()) == []


def test_a_kept_archive_with_a_wrong_byte_is_unpacked_as_it_was_or_thrown_away(tmp_path: Path) -> None:
    whole, thrown = archive(), 0
    path, folder = tmp_path / "spatial.tar.gz", tmp_path / "spatial"
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        try:
            public_data.unpack(path, folder)
        except UserError:
            thrown += 1
            assert not folder.exists()
        else:  # a byte that says nothing of the content, such as the time of packing
            assert {file.name: file.read_bytes() for file in folder.iterdir()} == {
                "tissue_positions_list.csv": b"a,b",
                "outside.csv": b"a,b",
            }
            shutil.rmtree(folder)
        assert not path.exists()
    assert thrown > len(whole) - 20
