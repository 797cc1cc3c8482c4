"""Which files may be opened, and what becomes of files that are uploaded, whole, odd or broken."""

import asyncio
import contextlib
import io
import os
import random
import socket
import sys
import time
import zipfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sam2.web.errors import StudioError
from sam2.web.media import archives, library, uploads
from sam2.web.media.kinds import check_image, check_video, kind_by_name, read_photo
from sam2.web.media.library import MediaLibrary
from sam2.web.media.uploads import Uploads, free_name, safe_name, stem_of
from sam2.web.settings import StudioSettings

LEFT, RIGHT = (200, 30, 30), (30, 60, 200)
linux = pytest.mark.skipif(sys.platform != "linux", reason="names and links as Linux has them")


def picture(size: tuple[int, int] = (40, 30)) -> Image.Image:
    """Red on the left, blue on the right; (width, height)."""
    array = np.full((size[1], size[0], 3), RIGHT, np.uint8)
    array[:, : size[0] // 2] = LEFT
    return Image.fromarray(array)


def saved(form: str = "PNG", image: Image.Image | None = None, **options: object) -> bytes:
    buffer = io.BytesIO()
    (image or picture()).save(buffer, form, **options)
    return buffer.getvalue()


def noise(size: int) -> Image.Image:
    """A picture that hardly compresses."""
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (size, size, 3)).astype(np.uint8))


def archive(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        for name, content in files.items():
            file.writestr(name, content)
    return buffer.getvalue()


@pytest.fixture
def opened(tmp_path: Path) -> MediaLibrary:
    """A library of the folder ``files``."""
    (tmp_path / "files").mkdir()
    return MediaLibrary(StudioSettings(projects=tmp_path / "projects", files=tmp_path / "files"))


def names(found: MediaLibrary, folder: str = "") -> list[str]:
    return [entry.name for entry in found.listing(folder).entries]


def status(found: MediaLibrary, path: str) -> int:
    """Of the error that a path gives."""
    with pytest.raises(StudioError) as caught:
        found.resolve(path)
    return caught.value.status


# ---------------------------------------------------------------------- the folder that is open


def test_a_listing_is_in_the_order_that_people_expect(opened, tmp_path):
    folder = tmp_path / "files"
    for name in ("b10.JPG", "B2.jpeg", "a.MP4", "notes.txt", ".hidden.png", "ファイル.webp", "e\u0301té.png", "noend"):
        (folder / name).write_bytes(b"x")
    for name in ("zoo", "Album", ".git"):
        (folder / name).mkdir()
    (folder / "Album" / "one.png").write_bytes(b"x")
    (folder / "Album" / ".two.png").write_bytes(b"x")
    listing = opened.listing()
    assert [e.name for e in listing.entries] == [
        "Album",
        "zoo",
        "a.MP4",
        "B2.jpeg",
        "b10.JPG",
        "e\u0301té.png",
        "ファイル.webp",
    ]
    assert [e.kind for e in listing.entries] == ["folder", "folder", "video", "image", "image", "image", "image"]
    assert (listing.parent, listing.folder, listing.entries[0].images, listing.entries[3].size) == (None, "", 1, 1)
    inner = opened.listing("Album/")
    assert (inner.parent, inner.folder, inner.entries[0].path) == ("", "Album", "Album/one.png")


def test_of_a_large_folder_the_first_are_listed_quickly(opened, tmp_path, monkeypatch):
    monkeypatch.setattr(library, "MOST_ENTRIES", 1000)
    for number in range(2000):
        (tmp_path / "files" / f"{number}.jpg").touch()
    start = time.perf_counter()
    found = names(opened)
    assert time.perf_counter() - start < 2
    assert found == [f"{number}.jpg" for number in range(1000)]


@linux
def test_links_and_odd_names_in_a_folder(opened, tmp_path):
    folder, outside = tmp_path / "files", tmp_path / "files-of-others"
    outside.mkdir()
    (outside / "private.png").write_bytes(saved())
    (folder / "inner").mkdir()
    (folder / "a:b\\c.png").write_bytes(saved())
    (folder / "line\nbreak.png").write_bytes(saved())
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff\xfe.png")).write_bytes(saved())
    (folder / "here").symlink_to(folder / "inner")
    (folder / "circle.png").symlink_to(folder / "circle.png")
    (folder / "gone.png").symlink_to(folder / "nothing.png")
    (folder / "out.png").symlink_to(outside / "private.png")
    (folder / "sibling").symlink_to(outside)  # its name begins as that of the open folder
    os.mkfifo(folder / "pipe.png")
    assert names(opened) == ["here", "inner", "a:b\\c.png", "line\nbreak.png"]
    assert opened.resolve("a:b\\c.png").name == "a:b\\c.png"
    assert opened.resolve("here") == folder / "inner"
    assert [status(opened, name) for name in ("circle.png", "gone.png", "pipe.png")] == [404, 404, 404]
    assert [status(opened, name) for name in ("out.png", "sibling", "sibling/private.png")] == [403, 403, 403]


@linux
@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_not_listed(opened, tmp_path):
    folder = tmp_path / "files"
    (folder / "closed").mkdir(mode=0)
    (folder / "closed.png").touch(mode=0)
    (folder / "open.png").touch()
    assert names(opened) == ["open.png"]
    with pytest.raises(StudioError) as caught:
        opened.listing("closed")
    assert caught.value.status == 403
    (folder / "closed").chmod(0o700)


@pytest.mark.parametrize("path", ["..", "a/..", "a/../..", "/", "//x", "/etc", "a/./../b", "\0", "a\0.png"])
def test_paths_that_reach_out(opened, path):
    (opened.root or Path()).joinpath("a").mkdir()
    assert status(opened, path) == 403


@pytest.mark.parametrize("path", ["nothing", "a" * 300, "a/" * 1000, "~", "%2e%2e", "..%2f", "a.png/b", "\udcff"])
def test_paths_to_nothing(opened, path):
    (opened.root or Path()).joinpath("a.png").touch()
    assert status(opened, path) == 404


def test_without_a_folder_nothing_is_listed(tmp_path):
    with pytest.raises(StudioError, match="no folder is open"):
        MediaLibrary(StudioSettings(projects=tmp_path)).listing()


@linux
def test_a_set_of_photos_with_names_that_cannot_be_told(serve, tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "good.png").write_bytes(saved())
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff\xfe.png")).write_bytes(saved())
    with serve(tmp_path / "projects", files=folder) as client:
        state = client.post("/v1/projects", json={"path": ""})
        assert state.status_code == 201
        listed = client.get(f"/v1/projects/{state.json()['name']}/frames").json()
    assert [frame["name"] for frame in listed] == ["good.png"]


# ---------------------------------------------------------------------- kinds of files


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.webp", saved("WEBP")),
        ("a.bmp", saved("BMP")),
        ("a.tiff", saved("TIFF")),
        ("grey.png", saved("PNG", picture().convert("L"))),
        ("palette.png", saved("PNG", picture().convert("P"))),
        ("alpha.png", saved("PNG", picture().convert("RGBA"))),
        ("deep.png", saved("PNG", Image.fromarray(np.full((30, 40), 40_000, np.uint16)))),
        ("print.jpg", saved("JPEG", picture().convert("CMYK"))),
        ("really-a-png.jpg", saved("PNG")),
        ("still.gif", saved("GIF")),
    ],
)
def test_pictures_that_open(client, name, content):
    state = client.post("/v1/uploads", params={"name": name}, content=content)
    assert state.status_code == 200, state.text
    project = client.post("/v1/projects", json={"upload": state.json()["upload"]}).json()
    assert (project["num_frames"], project["width"], project["height"]) == (1, 40, 30)
    shown = client.get(f"/v1/projects/{project['name']}/frames/0/image")
    image = np.asarray(Image.open(io.BytesIO(shown.content)), int)
    if name.startswith("deep"):
        assert np.abs(image - 40_000 // 257).max() < 3
    elif name != "grey.png":
        assert np.abs(image[10, 5] - LEFT).max() < 30
        assert np.abs(image[10, 35] - RIGHT).max() < 30
    assert client.delete(f"/v1/projects/{project['name']}").status_code == 204


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_upright(client, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    turns = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # what a camera that is held so stores
    stored = picture() if orientation == 1 else picture().transpose(Image.Transpose(turns[orientation]))
    content = saved("JPEG", stored, exif=exif, quality=95)
    upload = client.post("/v1/uploads", params={"name": "turned.jpg"}, content=content).json()["upload"]
    project = client.post("/v1/projects", json={"upload": upload}).json()
    address = f"/v1/projects/{project['name']}/frames/0"
    assert (project["width"], project["height"]) == (40, 30)
    image = np.asarray(Image.open(io.BytesIO(client.get(f"{address}/image").content)), int)
    assert image.shape == (30, 40, 3)
    assert np.abs(image[15, 5] - LEFT).max() < 40
    assert np.abs(image[15, 35] - RIGHT).max() < 40
    client.delete(f"/v1/projects/{project['name']}")


@pytest.mark.parametrize("name", ["a.heic", "a.HEIF", "a.avif", "a.jxl", "a.dng"])
def test_pictures_that_do_not_open_say_what_to_do(client, name):
    answer = client.post("/v1/uploads", params={"name": name}, content=b"x" * 100)
    assert answer.status_code == 415
    assert "save it as JPEG or PNG" in answer.json()["detail"]


def test_pictures_that_would_start_other_programs_are_none(serve, tmp_path):
    """PostScript is run by another program where Pillow is asked to open it."""
    path = tmp_path / "a.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n")
    with pytest.raises(StudioError, match="no picture"):
        check_image(path, pixels=10**6)
    with pytest.raises(ValueError, match="PostScript"):
        read_photo(path)
    with serve(tmp_path / "projects", files=tmp_path) as client:
        name = client.post("/v1/projects", json={"path": "a.png"}).json()["name"]
        assert client.get(f"/v1/projects/{name}/frames/0/image").status_code == 415


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "BMP", "TIFF"])
def test_pictures_that_are_cut_short_are_told_at_once(tmp_path, form):
    content = saved(form, noise(120))
    path = tmp_path / "a.png"
    for part in (0.1, 0.5, 0.9):
        path.write_bytes(content[: int(part * len(content))])
        with pytest.raises(StudioError) as caught:
            check_image(path, pixels=10**6)
        assert caught.value.status == 415


def test_pictures_of_too_many_pixels_are_not_decoded(tmp_path):
    path = tmp_path / "bomb.png"
    head = saved("PNG", Image.new("1", (8, 8)))
    for side, allowed in ((3000, 8_999_999), (60_000, 10**6), (60_000, 10**12)):  # the last is more than Pillow's own
        size = side.to_bytes(4, "big")
        import zlib

        chunk = b"IHDR" + size + size + head[24:29]
        path.write_bytes(head[:8] + b"\0\0\0\r" + chunk + zlib.crc32(chunk).to_bytes(4, "big") + head[33:])
        with pytest.raises(StudioError) as caught:
            check_image(path, pixels=allowed)
        assert caught.value.status == 413


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://{0}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile '{1}'\n",
    ],
)
def test_playlists_do_not_open_other_files(media, tmp_path, text):
    for name in ("list.mp4", "list.mkv"):
        path = tmp_path / name
        path.write_text(text.format(media / "clip.mp4", "clip.mp4"))
        (tmp_path / "clip.mp4").write_bytes((media / "clip.mp4").read_bytes())
        with pytest.raises(StudioError) as caught:
            check_video(path, pixels=10**8)
        assert caught.value.status == 415


def test_videos_of_too_many_pixels(media):
    check_video(media / "clip.mp4", pixels=120 * 160)
    with pytest.raises(StudioError) as caught:
        check_video(media / "clip.mp4", pixels=120 * 160 - 1)
    assert caught.value.status == 413


def test_videos_that_are_cut_short(media, tmp_path):
    """As far as they go; without what says where frames are, they do not go at all."""
    content = (media / "clip.mp4").read_bytes()
    path = tmp_path / "short.mp4"
    for part in (0.2, 0.5, 0.95):
        path.write_bytes(content[: int(part * len(content))])
        with pytest.raises(StudioError):
            check_video(path, pixels=10**8)
    assert kind_by_name("CLIP.MP4") == "video"
    assert kind_by_name("clip.mp3") is None


# ---------------------------------------------------------------------- uploads


async def pieces(*contents: bytes | Exception) -> AsyncIterator[bytes]:
    for content in contents:
        if isinstance(content, Exception):
            raise content
        yield content


@pytest.fixture
def received(tmp_path: Path) -> Iterator[Uploads]:
    found = Uploads(StudioSettings(projects=tmp_path, upload_files=4, upload_limit=2**20))
    yield found
    found.close()


def take(received: Uploads, name: str, *contents: bytes | Exception, upload: str | None = None):
    return asyncio.run(received.receive(name, upload, pieces(*contents)))


def left(received: Uploads) -> list[str]:
    """All files and folders of uploads."""
    return sorted(path.name for path in received.folder.rglob("*")) if received.folder.exists() else []


def refused(received: Uploads, name: str, *contents: bytes | Exception, upload: str | None = None) -> int:
    with pytest.raises(StudioError) as caught:
        take(received, name, *contents, upload=upload)
    return caught.value.status


def test_several_photos_in_one_upload(received):
    first = take(received, "a.png", saved()[:50], saved()[50:])
    take(received, "A.JPG", saved("JPEG"), upload=first.upload)
    assert refused(received, "bad.png", b"no picture", upload=first.upload) == 415
    state = take(received, "more.zip", archive({"x/a.png": saved(), "x/b.webp": saved("WEBP")}), upload=first.upload)
    assert state.files == ("a.png", "A-2.JPG", "x_a.png", "x_b.webp")  # no two of one name with other endings
    assert refused(received, "v.mp4", b"x", upload=state.upload) == 422
    assert refused(received, "e.png", saved(), upload=state.upload) == 413
    assert received.state(state.upload) == state
    assert left(received) == sorted([*state.files, state.upload])
    with pytest.raises(StudioError) as caught:
        take(received, "a.png", saved(), upload="guessed")
    assert caught.value.status == 404


def test_all_files_of_an_upload_together_have_a_limit(received):
    first = take(received, "a.bmp", saved("BMP", noise(500)))
    assert refused(received, "b.bmp", saved("BMP", noise(500)), upload=first.upload) == 413
    assert received.state(first.upload).files == ("a.bmp",)


def test_a_full_disk_leaves_nothing(received, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(uploads, "_append", full)
    assert refused(received, "a.png", saved()) == 507
    monkeypatch.undo()
    monkeypatch.setattr(archives, "_write", full)
    assert refused(received, "a.zip", archive({"a.png": saved()})) == 507
    monkeypatch.undo()
    kept = take(received, "kept.png", saved())
    place, calls = Path.replace, []

    def second_is_full(path: Path, target: Path) -> Path:
        calls.append(path)
        return place(path, target) if len(calls) != 2 else full()  # type: ignore[return-value]

    monkeypatch.setattr(Path, "replace", second_is_full)
    both = archive({"a.png": saved(), "b.png": saved()})
    assert refused(received, "a.zip", both, upload=kept.upload) == 507
    assert left(received) == sorted(["kept.png", kept.upload])


def test_an_upload_that_is_cut_off_leaves_nothing(serve, tmp_path, caplog):
    with serve(tmp_path) as client:
        with socket.create_connection((client.base_url.host, client.base_url.port or 80), timeout=10) as connection:
            head = b"POST /v1/uploads?name=a.mp4 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"
            connection.sendall(head + b"x" * 5000)
            wait_for(lambda: list((tmp_path / ".uploads").rglob("*.part")))
        wait_for(lambda: not list((tmp_path / ".uploads").glob("*")))
        assert client.get("/v1/server").status_code == 200
    assert "Traceback" not in caplog.text


def wait_for(condition) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.01)


def test_an_upload_that_still_comes_is_left_alone(received):
    async def both() -> int:
        first = await received.receive("a.png", None, pieces(saved()))

        async def slow() -> AsyncIterator[bytes]:
            yield saved()[:20]
            for call in (
                lambda: received.claim(first.upload, received.folder / "there"),
                lambda: received._begin(first.upload),
            ):
                with pytest.raises(StudioError) as caught:
                    call()
                assert caught.value.status == 409
            yield saved()[20:]

        return len((await received.receive("b.png", first.upload, slow())).files)

    assert asyncio.run(both()) == 2


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("C:\\photos\\a.png", "a.png"),
        ("../../a.png", "a.png"),
        ("con.png", "_con.png"),
        ("NUL .tar.png", "_NUL .tar.png"),
        ("COM\u00b9.png", "_COM\u00b9.png"),
        ("a?b*c|d.png", "a_b_c_d.png"),
        (" . a.png. ", "a.png"),
        ("a\r\nb.png", "a__b.png"),
        ("日本.png", "日本.png"),
        ("\udcff.png", "_.png"),
    ],
)
def test_names_that_every_system_takes(name, safe):
    assert safe_name(name) == safe


def test_long_names_keep_their_ending(received):
    state = take(received, "\N{GRINNING FACE}" * 200 + ".png", saved())
    assert state.files[0].endswith("\N{GRINNING FACE}.png")
    for name in ("", " ", "...", "a/", "/", "\\"):
        with pytest.raises(StudioError, match="name must be"):
            safe_name(name)
    assert free_name("a.png", {stem_of("A.jpg"), stem_of("a-2.webp")}) == "a-3.png"


# ---------------------------------------------------------------------- archives


def test_an_archive_in_folders(received):
    deep = "/".join("abcdefgh")
    files = {f"{deep}/1.png": saved(), "10.png": saved(), "2.png": saved(), "__MACOSX/._2.png": b"x", "read.me": b"x"}
    assert take(received, "all.zip", archive(files)).files == ("2.png", "10.png", "g_h_1.png")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_archives_of_all_methods(received, method):
    content = archive({"a.bmp": saved("BMP", noise(60))}, method)
    assert take(received, "a.zip", content).files == ("a.bmp",)
    spoilt = bytearray(content)
    for place in range(200, 230):
        spoilt[place] ^= 0x5A
    assert refused(received, "a.zip", bytes(spoilt)) == 415


def test_archives_that_are_refused(received):
    def altered(name: str, **fields: int) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as file:
            item = zipfile.ZipInfo(name)
            for key, value in fields.items():
                setattr(item, key, value)
            file.writestr(item, saved())
        return buffer.getvalue()

    encrypted = bytearray(archive({"a.png": saved()}))
    encrypted[6] |= 1
    encrypted[encrypted.index(b"PK\1\2") + 8] |= 1
    assert refused(received, "a.zip", bytes(encrypted)) == 415
    assert refused(received, "a.zip", altered("a.png", external_attr=0o120777 << 16)) == 415
    assert refused(received, "a.zip", archive({})) == 415
    assert refused(received, "a.zip", archive({"inner.zip": archive({"a.png": saved()})})) == 415
    assert refused(received, "a.zip", archive({f"{n}.png": saved() for n in range(5)})) == 413
    assert refused(received, "a.zip", archive({"a.bmp": bytes(2**28)})) == 413
    long = archive({"a.png": saved()})
    place = long.index(b"PK\5\6") + 12
    assert refused(received, "a.zip", long[:place] + b"\0\0\0\x70" + long[place + 4 :]) == 413
    with pytest.raises(StudioError, match=r"^bad\.png in the archive: this is no picture"):
        take(received, "a.zip", archive({"good.png": saved(), "x/bad.png": b"x"}))
    assert left(received) == []


@pytest.mark.parametrize("name", ["a.zip", "a.png", "a.jpg", "a.webp", "a.tif", "a.gif", "a.mp4"])
def test_spoilt_files_are_taken_or_refused(received, media, name):
    """Bytes that are changed anywhere never surprise."""
    forms = {"png": "PNG", "jpg": "JPEG", "webp": "WEBP", "tif": "TIFF", "gif": "GIF"}
    ending = name[2:]
    whole = (
        archive({"b.jpg": saved("JPEG"), "c.png": saved()}) if ending == "zip" else (media / "clip.mp4").read_bytes()
    )
    whole = saved(forms[ending]) if ending in forms else whole
    rng = random.Random(0)
    for _ in range(40):
        content = bytearray(whole)
        for _ in range(rng.choice((1, 3, 30))):
            content[rng.randrange(min(len(content), 3000))] = rng.randrange(256)
        with contextlib.suppress(StudioError):
            received.drop(take(received, name, bytes(content)).upload)
    assert left(received) == []


def test_an_upload_is_found_again_by_nobody_after_hours(received, monkeypatch):
    first = take(received, "a.png", saved())
    monkeypatch.setattr(uploads, "HOURS", -1.0)
    second = take(received, "b.png", saved())
    assert left(received) == sorted(["b.png", second.upload])
    with pytest.raises(StudioError):
        received.state(first.upload)
