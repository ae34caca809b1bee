"""Fetching public sets, from a server on this machine: cut lines, wrong sums, archives that reach outside."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from training.data import download as module
from training.data.dataset import DataError
from training.data.download import download
from training.data.public import SETS, PublicSet, public_set
from training.data.unpack import unpack


@dataclass
class Host:
    """What the server gives, and what it was asked for."""

    content: bytes = b""
    cut_after: list[int] = field(default_factory=list)
    """Bytes after which each of the first answers breaks off."""
    knows_ranges: bool = True
    status: int = 0
    ranges: list[str] = field(default_factory=list)
    url: str = ""


class Handler(BaseHTTPRequestHandler):
    """Answers GET with the host's content."""

    host: Host

    def do_GET(self) -> None:
        host, asked = self.host, self.headers.get("Range", "")
        host.ranges.append(asked)
        if host.status:
            self.send_error(host.status)
            return
        first = int(asked.removeprefix("bytes=").rstrip("-")) if asked and host.knows_ranges else 0
        if first >= len(host.content):
            self.send_error(416)
            return
        self.send_response(206 if first else 200)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(host.content) - 1}/{len(host.content)}")
        body = host.content[first:]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: host.cut_after.pop(0)] if host.cut_after else body)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """A server on loopback."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    served = Host()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("OneHost", (Handler,), {"host": served}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    served.url = f"http://127.0.0.1:{server.server_address[1]}/set"
    yield served
    server.shutdown()
    server.server_close()
    thread.join(5)
    assert not thread.is_alive()


def tar(*files: tuple[str, bytes], kind: bytes = tarfile.REGTYPE) -> bytes:
    """A .tar.gz."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size, member.type = len(content), kind
            member.linkname = "/etc/passwd"
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def zipped(*files: tuple[str, bytes], comment: str = "") -> bytes:
    """A .zip."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.comment = comment.encode()
        for name, content in files:
            archive.writestr(name, content)
    return packed.getvalue()


GOOD = tar(("./yes/a.wav", bytes(range(256)) * 40), ("./no/b.wav", b"b" * 5000))


def wanted(host: Host, content: bytes = GOOD, **changes: Any) -> PublicSet:
    """A set whose archive is this."""
    host.content = content
    base = SETS["speech_commands_v0.02"]
    one = replace(base, name="toy", url=host.url, archive="toy.tar.gz", bytes=len(content))
    return replace(one, **{"sha256": hashlib.sha256(content).hexdigest(), **changes})


def test_a_set_is_fetched_checked_and_unpacked(host: Host, tmp_path: Path) -> None:
    folder = download(wanted(host), tmp_path / "data")
    assert (folder / "no/b.wav").read_bytes() == b"b" * 5000
    assert sorted(path.name for path in folder.parent.iterdir()) == ["toy"]
    told: list[str] = []
    assert download(wanted(host), tmp_path / "data", report=told.append) == folder
    assert told == [f"{folder} is already there"]
    assert len(host.ranges) == 1


def test_the_archive_can_be_kept(host: Host, tmp_path: Path) -> None:
    download(wanted(host), tmp_path, keep_archive=True)
    assert (tmp_path / "toy.tar.gz").read_bytes() == GOOD


def test_a_cut_line_goes_on_where_it_stopped(host: Host, tmp_path: Path) -> None:
    one = wanted(host)
    host.cut_after = [100, 50]
    assert (download(one, tmp_path) / "yes/a.wav").exists()
    assert host.ranges == ["", "bytes=100-", "bytes=150-"]


def test_a_stopped_fetch_goes_on_the_next_time(host: Host, tmp_path: Path) -> None:
    one = wanted(host)
    (tmp_path / "toy.tar.gz.part").write_bytes(GOOD[:200])
    download(one, tmp_path)
    assert host.ranges == ["bytes=200-"]


def test_a_server_without_ranges_starts_again(host: Host, tmp_path: Path) -> None:
    one = wanted(host)
    host.knows_ranges = False
    host.cut_after = [100]
    download(one, tmp_path)
    assert host.ranges == ["", "bytes=100-"]


def test_a_part_longer_than_the_file_is_dropped(host: Host, tmp_path: Path) -> None:
    one = wanted(host)
    (tmp_path / "toy.tar.gz.part").write_bytes(GOOD + b"more")
    download(one, tmp_path)
    assert host.ranges == [f"bytes={len(GOOD) + 4}-", ""]


def test_a_line_that_brings_nothing_is_given_up(host: Host, tmp_path: Path) -> None:
    one = wanted(host)
    host.cut_after = [70] + [0] * 10
    with pytest.raises(DataError, match="check the internet connection; 70 bytes are kept, the same command"):
        download(one, tmp_path)
    assert len(host.ranges) == 1 + module.VAIN_TRIES


def test_a_wrong_sum_is_refused_and_removed(host: Host, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"toy: SHA-256 is \w{64} \(\d+ bytes\), not 0000.*do not trust it"):
        download(wanted(host, sha256="0" * 64), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_no_such_file_is_one_line(host: Host, tmp_path: Path) -> None:
    one = wanted(host)
    host.status = 404
    with pytest.raises(DataError, match="the server answers 404 Not Found; look for it by hand"):
        download(one, tmp_path)
    assert len(host.ranges) == 1


def test_no_internet_is_one_line(host: Host, tmp_path: Path) -> None:
    one = replace(wanted(host), url="http://127.0.0.1:9/set")
    with pytest.raises(
        DataError, match=r"http://127.0.0.1:9/set: Connection refused; check the internet connection"
    ):
        download(one, tmp_path)


def test_too_little_room_is_told_before(host: Host, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"GB free, 2500000000.0 GB needed"):
        download(wanted(host, bytes=10**18), tmp_path)
    assert host.ranges == []


COMMIT = "33c8ce9e"


@pytest.mark.parametrize(
    ("files", "comment", "message"),
    [
        (2, COMMIT, ""),
        (1, COMMIT, "toy: 1 .wav files in the archive, 2 expected"),
        (2, "another", "not the commit 33c8ce9e"),
    ],
)
def test_an_archive_without_a_promised_sum_is_judged_by_its_contents(
    host: Host, tmp_path: Path, files: int, comment: str, message: str
) -> None:
    content = zipped(*((f"ESC-50-1/audio/{n}.wav", b"x") for n in range(files)), comment=comment)
    one = wanted(
        host,
        content,
        sha256="0" * 64,
        hash_is_promised=False,
        sounds=2,
        zip_comment=COMMIT,
        archive="toy.zip",
    )
    told: list[str] = []
    if message:
        with pytest.raises(DataError, match=message):
            download(one, tmp_path, report=told.append)
        assert not (tmp_path / "toy").exists()
    else:
        assert (download(one, tmp_path, report=told.append) / "audio/1.wav").exists()
    assert "judged by its contents" in told[0]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.tar.gz", tar(("../evil", b"x")), "leads out of its folder"),
        ("a.tar.gz", tar(("/tmp/evil", b"x")), "leads out of its folder"),
        ("a.tar.gz", tar(("ok", b"x"), ("a/../../evil", b"x")), "leads out of its folder"),
        ("a.tar.gz", tar(("link", b""), kind=tarfile.SYMTYPE), "neither file nor folder"),
        ("a.tar.gz", tar(("link", b""), kind=tarfile.LNKTYPE), "neither file nor folder"),
        ("a.tar.gz", GOOD[:-300], "cannot be unpacked"),
        ("a.tar.gz", b"no archive", "cannot be unpacked"),
        ("a.zip", zipped(("../evil", b"x")), "leads out of its folder"),
        ("a.zip", zipped(("C:\\evil", b"x")), "leads out of its folder"),
        ("a.zip", b"no archive", "cannot be unpacked"),
    ],
)
def test_bad_archives_leave_nothing(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / "in").mkdir()
    archive = tmp_path / "in" / name
    archive.write_bytes(content)
    with pytest.raises(DataError, match=message):
        unpack(archive, tmp_path / "in" / "out")
    assert [path.name for path in tmp_path.rglob("*")] == ["in", name]


def test_every_public_set_can_be_checked_and_read() -> None:
    for one in SETS.values():
        assert one.url.startswith("https://")
        assert len(one.sha256) == 64
        assert one.archive.endswith((".zip", ".tar.gz"))
        assert one.hash_is_promised or (one.sounds and one.zip_comment)
    with pytest.raises(
        DataError, match=r"no public set 'esc05', did you mean 'esc50'\?; legal values: speech_"
    ):
        public_set("esc05")
