"""What must be refused is refused, with a status and a sentence."""

import io
import socket
import zipfile
from pathlib import Path

import httpx
import pytest
from PIL import Image

from sam2.web.settings import StudioSettings

TOKEN = "a-token-that-is-long"


def detail(response: httpx.Response) -> str:
    """The sentence of an error."""
    text = response.json()["detail"]
    assert isinstance(text, str)
    assert text
    return text


@pytest.fixture
def locked(serve, media, tmp_path):
    with serve(tmp_path, files=media, token=TOKEN) as client:
        yield client


def raw(client: httpx.Client, request: bytes) -> bytes:
    """The answer to a request as it is, for what clients would not send."""
    with socket.create_connection((client.base_url.host, client.base_url.port or 80), timeout=10) as connection:
        connection.sendall(request)
        return connection.recv(65536)


@pytest.mark.parametrize("path", ["../", "set/../../x", "/etc/passwd", "C:/x", "a\\b", "set/\0"])
def test_paths_that_leave_the_folder(client, path):
    answer = client.post("/v1/projects", json={"path": path})
    assert answer.status_code in (403, 404)
    assert str(Path.cwd().anchor + "etc") not in detail(answer)
    assert client.get("/v1/files", params={"folder": path}).status_code in (403, 404)


def test_links_that_leave_the_folder(serve, tmp_path):
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.mkdir()
    inside.mkdir()
    Image.new("RGB", (20, 20)).save(outside / "private.png")
    try:
        (inside / "link").symlink_to(outside)
    except OSError:
        pytest.skip("this system makes no links here")
    with serve(tmp_path / "projects", files=inside) as client:
        assert client.post("/v1/projects", json={"path": "link/private.png"}).status_code == 403
        assert client.get("/v1/files").json()["entries"] == []


@pytest.mark.parametrize(
    "path",
    [
        "/v1/projects/..%2F..%2Fetc",
        "/v1/projects/.uploads",
        "/v1/projects/CON/frames/0",
        "/static/..%2Fapp.py",
        "/static/%2e%2e/app.py",
        "/static/nothing.js",
        "/v1/projects/x/exports/..%2F..%2Fproject.json",
    ],
)
def test_addresses_that_reach_for_files(client, path):
    assert raw(client, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()).startswith(
        b"HTTP/1.1 404"
    )


def test_other_pages_may_neither_read_nor_write(client):
    for headers in ({"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}, {"origin": "null"}):
        assert client.get("/v1/projects", headers=headers).status_code == 403
        assert client.post("/v1/projects", json={"path": "disc.png"}, headers=headers).status_code == 403
    own = {"origin": f"http://127.0.0.1:{client.base_url.port}", "sec-fetch-site": "same-origin"}
    assert client.get("/v1/projects", headers=own).status_code == 200
    assert "access-control-allow-origin" not in client.get("/v1/projects", headers=own).headers


def test_a_foreign_name_for_this_machine(client):
    assert client.get("/v1/server", headers={"host": "evil.example"}).status_code == 403
    assert client.get("/v1/server", headers={"host": "localhost:1"}).status_code == 200


def test_forms_of_other_pages_cannot_write(client):
    answer = client.post("/v1/projects", content="path=disc.png", headers={"content-type": "text/plain"})
    assert answer.status_code == 415


def test_the_token_is_needed(locked):
    assert locked.get("/v1/server").status_code == 401
    assert locked.get("/").status_code == 401
    assert locked.get("/v1/server", headers={"authorization": "Bearer wrong"}).status_code == 401
    assert locked.get("/v1/server", headers={"cookie": "sam2_studio=guessed"}).status_code == 401
    assert locked.get("/v1/server", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200


def test_a_page_shows_the_token_once(locked):
    assert locked.get("/", params={"token": "wrong"}).status_code == 401
    answer = locked.get("/", params={"token": TOKEN})
    assert answer.status_code == 303
    assert answer.headers["location"] == "/"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert TOKEN not in cookie
    assert locked.get("/v1/server").status_code == 200  # the client keeps cookies, as browsers do


def test_wrong_tokens_are_slowed_down(locked):
    statuses = {locked.get("/v1/server", headers={"authorization": f"Bearer {n}"}).status_code for n in range(20)}
    assert statuses == {401, 429}


def test_who_listens_to_others_needs_a_token(tmp_path):
    with pytest.raises(ValueError, match="a token is needed"):
        StudioSettings(projects=tmp_path, host="0.0.0.0")
    StudioSettings(projects=tmp_path, host="0.0.0.0", token=TOKEN)


def test_bodies_that_are_too_large(serve, tmp_path):
    with serve(tmp_path, json_limit=1000, upload_limit=5000) as client:
        assert client.post("/v1/segment", json={"image": "x" * 2000}).status_code == 413
        headers = {"content-type": "application/json"}
        assert client.post("/v1/segment", content=iter([b"x" * 600] * 3), headers=headers).status_code == 413
        assert client.post("/v1/uploads?name=a.png", content=b"x" * 6000).status_code == 413
        assert client.post("/v1/uploads?name=a.png", content=iter([b"x" * 600] * 10)).status_code == 413
        assert not list((tmp_path / ".uploads").glob("*"))


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b'{"path": NaN}', b"\xff\xfe", b'{"unknown": 1}', b"null"])
def test_malformed_json(client, body):
    answer = client.post("/v1/projects", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    detail(answer)


def test_uploads_that_are_not_what_they_say(serve, media, tmp_path):
    with serve(tmp_path, image_pixels=40_000, unpacked_limit=3 * 2**20) as client:

        def upload(name: str, content: bytes) -> httpx.Response:
            return client.post("/v1/uploads", params={"name": name}, content=content)

        video = (media / "clip.mp4").read_bytes()
        assert upload("a.png", b"").status_code == 415
        assert upload("a.png", b"GIF89a no").status_code == 415
        assert upload("a.exe", b"MZ").status_code == 415
        assert upload("a.mp4", b"\0" * 500).status_code == 415
        assert upload("a.mp4", video[:200]).status_code == 415
        assert upload("a.zip", b"PK\x03\x04 no").status_code == 415
        assert upload("large.png", png((300, 200))).status_code == 413
        assert upload("bomb.zip", archive({f"{n}.png": bytes(2**20) for n in range(5)})).status_code == 413
        assert upload("none.zip", archive({"readme.txt": b"x"})).status_code == 415
        for name in ("..", "/", "x/"):
            assert upload(name, png((20, 20))).status_code == 422
        assert not list((tmp_path / ".uploads").glob("*"))
        assert not [p for p in tmp_path.rglob("*") if p.suffix == ".png"]


def test_an_archive_cannot_write_elsewhere(serve, tmp_path):
    with serve(tmp_path / "projects") as client:
        content = archive({"../../evil.png": png((20, 20)), "/abs.png": png((20, 20)), "a/b.png": png((20, 20))})
        state = client.post("/v1/uploads?name=a.zip", content=content).json()
        project = client.post("/v1/projects", json={"upload": state["upload"]}).json()
        assert project["num_frames"] == 3
    assert not (tmp_path / "evil.png").exists()
    assert {p.parent.name for p in tmp_path.rglob("*.png")} == {"media"}


def test_numbers_of_uploads_cannot_be_guessed(client):
    assert client.delete("/v1/uploads/1").status_code == 404
    assert client.post("/v1/projects", json={"upload": "../.."}).status_code == 404
    first = client.post("/v1/uploads?name=a.png", content=png((20, 20))).json()["upload"]
    assert len(first) >= 16
    assert client.delete(f"/v1/uploads/{first}").status_code == 204


def test_browsers_are_told_to_be_careful(client):
    headers = client.get("/").headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert client.get("/v1/server").headers["cache-control"] == "no-store"


def test_floods_are_stopped(serve, tmp_path):
    with serve(tmp_path, requests_per_second=2) as client:
        assert 429 in {client.get("/v1/server").status_code for _ in range(40)}


def png(size: tuple[int, int]) -> bytes:
    """A picture of (width, height)."""
    buffer = io.BytesIO()
    Image.new("RGB", size, (200, 30, 30)).save(buffer, "PNG")
    return buffer.getvalue()


def archive(files: dict[str, bytes]) -> bytes:
    """A .zip file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            file.writestr(name, content)
    return buffer.getvalue()
