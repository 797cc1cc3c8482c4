"""Downloads against a server on this machine that breaks in every way a server can."""

import errno
import hashlib
import threading
from collections import namedtuple
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sam2.loading import download
from sam2.loading.download import DownloadError, fetch

CONTENT = bytes(range(256)) * 20_000  # 5 MB
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves CONTENT, with the faults that a test sets.

    Attributes:
        ranges: the Range header of each request so far.
        cut_after: bytes after which the connection is closed, once for each entry.
        statuses: answers to give instead, in order.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.honour_range = True
        self.ranges: list[str | None] = []
        self.cut_after: list[int] = []
        self.statuses: list[int] = []

    def handle_error(self, *_: object) -> None:
        """Quiet: clients that hang up are what is tested."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/weights.pt"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        wanted = self.headers.get("Range")
        server.ranges.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and server.honour_range else 0
        if server.statuses or start >= len(server.content):
            self.send_error(server.statuses.pop(0) if server.statuses else 416)
            return
        body = server.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: server.cut_after.pop(0)] if server.cut_after else body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(download.time, "sleep", lambda _: None)
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "weights.pt"


def part_of(target: Path) -> Path:
    return target.with_name("weights.pt.part")


def test_fetches_reports_and_leaves_no_part(server: Server, target: Path) -> None:
    seen: list[tuple[int, int | None]] = []

    assert fetch(server.url, target, size=len(CONTENT), sha256=SHA256, progress=lambda *a: seen.append(a)) == target
    assert target.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert not part_of(target).exists()


def test_a_broken_connection_is_continued_where_it_broke(server: Server, target: Path) -> None:
    server.cut_after = [2_000_000, 1_000_000]

    fetch(server.url, target, size=len(CONTENT), sha256=SHA256)

    assert target.read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=2000000-", "bytes=3000000-"]


def test_a_later_call_continues(server: Server, target: Path) -> None:
    server.cut_after = [1_000_000] * 4
    with pytest.raises(DownloadError, match=r"closed after .* of 5120000 bytes.*try again"):
        fetch(server.url, target, size=len(CONTENT), sha256=SHA256)
    assert part_of(target).stat().st_size == 4_000_000
    assert not target.exists()

    fetch(server.url, target, size=len(CONTENT), sha256=SHA256)

    assert server.ranges[-1] == "bytes=4000000-"
    assert target.read_bytes() == CONTENT


def test_a_server_that_cannot_continue_starts_over(server: Server, target: Path) -> None:
    server.honour_range = False
    server.cut_after = [2_000_000]

    fetch(server.url, target, size=len(CONTENT), sha256=SHA256)

    assert target.read_bytes() == CONTENT


def test_a_whole_part_is_checked_without_a_request(server: Server, target: Path) -> None:
    target.parent.mkdir()
    part_of(target).write_bytes(CONTENT)

    fetch(server.url, target, size=len(CONTENT), sha256=SHA256)

    assert server.ranges == []
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("surplus", [1, 1000])
def test_a_part_that_is_too_long_is_dropped(surplus: int, server: Server, target: Path) -> None:
    target.parent.mkdir()
    part_of(target).write_bytes(CONTENT + bytes(surplus))

    fetch(server.url, target, size=len(CONTENT), sha256=SHA256)

    assert target.read_bytes() == CONTENT


def test_a_part_longer_than_a_file_of_unknown_size_is_dropped(server: Server, target: Path) -> None:
    target.parent.mkdir()
    part_of(target).write_bytes(CONTENT + b"x")

    fetch(server.url, target)

    assert target.read_bytes() == CONTENT


def test_a_corrupt_download_is_removed(server: Server, target: Path) -> None:
    server.content = CONTENT[:-1] + b"x"

    with pytest.raises(DownloadError, match=r"weights.pt: the download is corrupt and was removed.*SHA-256"):
        fetch(server.url, target, size=len(CONTENT), sha256=SHA256)
    assert not target.exists()
    assert not part_of(target).exists()


def test_another_file_on_the_server_is_not_downloaded(server: Server, target: Path) -> None:
    server.content = CONTENT[:-1]

    with pytest.raises(DownloadError, match="offers 5119999 bytes, expected 5120000"):
        fetch(server.url, target, size=len(CONTENT), sha256=SHA256)
    assert not target.exists()


@pytest.mark.parametrize("status", [403, 404])
def test_a_refusal_says_what_to_put_where(status: int, server: Server, target: Path) -> None:
    server.statuses = [status]

    with pytest.raises(
        DownloadError, match=rf"answered {status} .*Get {server.url} by other means and put it at {target}"
    ):
        fetch(server.url, target, size=len(CONTENT))
    assert len(server.ranges) == 1


def test_a_passing_fault_of_the_server_is_tried_again(server: Server, target: Path) -> None:
    server.statuses = [503, 500]

    fetch(server.url, target, size=len(CONTENT), sha256=SHA256)

    assert target.read_bytes() == CONTENT


def test_offline_says_what_to_put_where(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download.time, "sleep", lambda _: None)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as closed:
        url = f"http://127.0.0.1:{closed.server_address[1]}/weights.pt"

    with pytest.raises(OSError, match=rf"no connection .*Get {url} by other means and put it at {target}"):
        fetch(url, target, size=10)


def test_no_room_is_said_before_the_download(server: Server, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: usage(10**9, 10**9, 1000))

    with pytest.raises(DownloadError, match=r"no room on the disk.*5 MB more are needed.*SAM2_CACHE") as caught:
        fetch(server.url, target, size=len(CONTENT))
    assert caught.value.errno == errno.ENOSPC
    assert not part_of(target).exists()


def test_a_disk_that_fills_up_keeps_the_part(server: Server, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target.parent.mkdir()
    part_of(target).write_bytes(CONTENT[:1000])
    original = Path.open

    class Full:
        """A file on a disk with no room."""

        def __enter__(self) -> "Full":
            return self

        def __exit__(self, *_: object) -> None:
            return None

        def write(self, _: bytes) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    def opened(path: Path, mode: str = "r", **options: object) -> object:
        return Full() if mode == "ab" else original(path, mode, **options)

    monkeypatch.setattr(Path, "open", opened)

    with pytest.raises(DownloadError, match=r"no room on the disk.*part holds what came so far") as caught:
        fetch(server.url, target, size=len(CONTENT))
    assert caught.value.errno == errno.ENOSPC
    assert part_of(target).read_bytes() == CONTENT[:1000]


def test_ctrl_c_keeps_the_part(server: Server, target: Path) -> None:
    def stop(done: int, _: int | None) -> None:
        if done > 2_000_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(server.url, target, size=len(CONTENT), progress=stop)
    assert 0 < part_of(target).stat().st_size < len(CONTENT)

    fetch(server.url, target, size=len(CONTENT), sha256=SHA256)

    assert target.read_bytes() == CONTENT


def test_a_folder_that_cannot_be_made(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(DownloadError, match="cannot create"):
        fetch(server.url, tmp_path / "file" / "weights.pt")
