"""What must be refused is refused, with a status and a sentence."""

import base64
import contextlib
import io
import socket
import time
import zipfile
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from PIL import Image

from sam2.web.security import guard
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
    assert (
        locked.get("/v1/server", headers={"cookie": f"sam2_studio_{locked.base_url.port}=guessed"}).status_code == 401
    )
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


def test_after_wrong_tokens_the_right_one_is_not_heard_either(locked):
    """Or guessing would go on as fast as before, and only the refusals would read otherwise."""
    for number in range(12):
        locked.get("/v1/server", headers={"authorization": f"Bearer {number}"})
    assert locked.get("/v1/server", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 429


def test_pages_that_are_logged_in_do_not_suffer_from_guesses(locked):
    assert locked.get("/", params={"token": TOKEN}).status_code == 303
    cookies = dict(locked.cookies)
    locked.cookies.clear()
    for number in range(12):
        assert locked.get("/", params={"token": f"wrong {number}"}).status_code == 401
    assert locked.get("/", params={"token": TOKEN}).status_code == 401  # too many were wrong
    for name, value in cookies.items():
        locked.cookies.set(name, value)
    assert locked.get("/v1/server").status_code == 200


def test_the_token_is_taken_from_nowhere_else(locked):
    assert locked.get("/v1/server", params={"token": TOKEN}).status_code == 401
    assert locked.get("/v1/server", headers={"cookie": f"token={TOKEN}"}).status_code == 401
    name = f"sam2_studio_{locked.base_url.port}"
    assert locked.get("/v1/server", headers={"cookie": f"{name}={TOKEN}"}).status_code == 401
    assert locked.get("/v1/server", headers={"cookie": f'{name}="\\"; {name}=; ;;=\x7f'}).status_code == 401
    assert locked.get("/v1/server", headers={"authorization": f"Basic {TOKEN}"}).status_code == 401
    assert locked.get("/v1/server", headers={"x-token": TOKEN}).status_code == 401
    assert raw(locked, b"GET /?token=%ff%fe HTTP/1.1\r\nHost: localhost\r\n\r\n").startswith(b"HTTP/1.1 401")
    for path in ("/openapi.json", "/static/main.js", "/v1/nothing", "//v1/server", "/v1/../v1/server"):
        assert locked.get(path).status_code == 401


def test_a_page_is_logged_out_after_its_hours(serve, tmp_path):
    with serve(tmp_path, token=TOKEN, session_hours=1.5 / 3600) as client:
        cookie = client.get("/", params={"token": TOKEN}).headers["set-cookie"].partition(";")[0]
        client.cookies.clear()
        assert client.get("/v1/server", headers={"cookie": cookie}).status_code == 200
        time.sleep(1.6)
        assert client.get("/v1/server", headers={"cookie": cookie}).status_code == 401


def test_two_studios_of_a_machine_do_not_take_each_others_pages(serve, tmp_path):
    with serve(tmp_path / "a", token=TOKEN) as first, serve(tmp_path / "b", token=TOKEN) as second:
        cookies = [client.get("/", params={"token": TOKEN}).headers["set-cookie"] for client in (first, second)]
        both = "; ".join(cookie.partition(";")[0] for cookie in cookies)  # browsers do not tell ports apart
        assert {client.get("/v1/server", headers={"cookie": both}).status_code for client in (first, second)} == {200}


@pytest.mark.parametrize(
    "host",
    [
        *("localhost.evil.example", "127.0.0.1.evil.example", "evil@localhost", "localhost@evil", "localhost:80@evil"),
        *("127.1", "2130706433", "localhost.", "0.0.0.0", "", "[::1", "localhost/", "localhost?", "localhost#x", "::1"),
    ],
)
def test_names_that_only_look_like_this_machine(client, host):
    answer = raw(client, f"GET /v1/server HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 403")


def test_heads_that_contradict_themselves(client):
    def status(*lines: str, body: str = "") -> int:
        answer = raw(client, "\r\n".join([*lines, "Connection: close", "", body]).encode("latin-1"))
        return int(answer.split()[1])

    post = ("POST /v1/projects HTTP/1.1", "Host: localhost", "Content-Type: application/json")
    assert status("GET /v1/server HTTP/1.1", "Host: evil.example", "Host: localhost") == 400
    assert status("GET /v1/server HTTP/1.0") == 403
    assert status("GET http://evil.example/v1/server HTTP/1.1", "Host: localhost") == 404
    for length in ("-2", "+2", "2, 3", "\u00b2", "0x2", "1e1"):
        assert status(*post, f"Content-Length: {length}", body="{}") == 400
    assert status(*post, "Content-Length: 2", "Content-Length: 3", body="{}") == 400
    chunked = ("Content-Length: 2", "Transfer-Encoding: chunked")
    assert status(*post, *chunked, body="0\r\n\r\n") in (400, 422)
    assert status("GET /v1/server HTTP/1.1", "Host: localhost", *(f"X{n}: x" for n in range(20_000))) in (400, 431)


HOSTILE = ["..", "../..", "..\\..", "a\\b", "\0", "a\0", "%2e%2e", "%252e%252e", ".", "CON", "a" * 5000, "\u202e", "~"]


@pytest.mark.parametrize("part", HOSTILE)
def test_no_part_of_an_address_reaches_a_file(client, part):
    client.post("/v1/projects", json={"path": "disc.png"})
    part = quote(part, safe="%")
    for method, path in (
        ("GET", f"/v1/projects/{part}"),
        ("DELETE", f"/v1/projects/{part}"),
        ("GET", f"/v1/projects/{part}/frames/0/image"),
        ("GET", f"/v1/projects/disc/exports/{part}"),
        ("DELETE", f"/v1/uploads/{part}"),
        ("GET", f"/static/{part}.js"),
        ("GET", f"/static/{part}"),
    ):
        answer = raw(client, f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        assert int(answer.split()[1]) in (307, 404, 405), (method, path)
        assert b"etc" not in answer
    assert client.get("/v1/projects/disc").status_code == 200


def test_json_that_is_meant_to_hurt(client):
    client.post("/v1/projects", json={"path": "disc.png"})
    client.post("/v1/projects/disc/objects", json={"frame": 0})
    many = 300_000
    start = time.perf_counter()
    for method, path, body in (
        ("POST", "/v1/projects", "[" * many + "]" * many),
        ("POST", "/v1/projects", '{"path":' * many + "1" + "}" * many),
        ("POST", "/v1/projects", '{"path": ' + "9" * many + "}"),
        ("POST", "/v1/projects", "{" + ",".join(f'"{n}":1' for n in range(many)) + "}"),
        ("PUT", "/v1/projects/disc/frames/0/objects/1/prompts", '{"points": [' + "{}," * many + "{}]}"),
        ("POST", "/v1/segment", '{"image": "", "prompts": [' + "{}," * many + '{"points": [{}]}]}'),
        ("POST", "/v1/projects/disc/track", '{"start": 0, "object_ids": [' + "1," * many + "1]}"),
        ("POST", "/v1/projects/disc/exports", '{"formats": [' + "1," * many + "1]}"),
        ("PUT", "/v1/projects/disc/frames/0/objects/1/prompts", '{"mask":{"size":[1000000,1000000],"counts":"01"}}'),
    ):
        answer = client.request(method, path, content=body, headers={"content-type": "application/json"})
        assert answer.status_code in (400, 422), (path, answer.text)
        assert len(detail(answer)) <= 1000
    assert time.perf_counter() - start < 10


def test_pictures_that_are_meant_to_hurt(serve, tmp_path):
    def segment(content: bytes) -> int:
        image = base64.b64encode(content).decode()
        return client.post("/v1/segment", json={"image": image, "prompts": [{"box": [1, 1, 5, 5]}]}).status_code

    with serve(tmp_path, image_pixels=40_000) as client:
        assert segment(png((300, 200))) == 413
        for form in ("JPEG", "WEBP", "GIF", "TIFF"):
            buffer = io.BytesIO()
            Image.new("RGB", (300, 200)).save(buffer, form)
            assert segment(buffer.getvalue()) == 413
        # PostScript is run by another program where Pillow is asked to open it
        assert segment(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n") == 415
        assert segment(png((30, 20))[:-30]) == 415


def test_streams_of_events_have_an_end(client):
    client.post("/v1/projects", json={"path": "disc.png"})
    head = b"GET /v1/projects/disc/events HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with contextlib.ExitStack() as stack:
        answers = []
        for _ in range(guard.STREAMS[0] + 2):
            where = (client.base_url.host, client.base_url.port or 80)
            connection = stack.enter_context(socket.create_connection(where, timeout=10))
            connection.sendall(head)
            answers.append(connection.recv(4096)[:12])
        assert answers == [b"HTTP/1.1 200"] * guard.STREAMS[0] + [b"HTTP/1.1 429"] * 2
        assert client.get("/v1/server").status_code == 200
    deadline = time.monotonic() + 10
    while raw(client, head)[:12] != b"HTTP/1.1 200":  # those who are gone make room
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_bodies_that_come_too_slowly(serve, tmp_path, monkeypatch):
    monkeypatch.setattr(guard, "BODY_SECONDS", 0.3)
    with serve(tmp_path) as client:
        for path in ("/v1/segment", "/v1/uploads?name=a.png"):
            head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            answer = raw(client, f"{head}Content-Length: 1000\r\n\r\n{{".encode())
            assert answer.startswith(b"HTTP/1.1 408")
        assert not list((tmp_path / ".uploads").glob("*"))


def test_calls_that_are_not_finished_do_not_pile_up(serve, tmp_path, monkeypatch):
    monkeypatch.setattr(guard, "CALLS", (5, 8))
    with serve(tmp_path) as client, contextlib.ExitStack() as stack:
        where = (client.base_url.host, client.base_url.port or 80)
        head = b"POST /v1/uploads?name=a.png HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nx"
        for _ in range(5):
            stack.enter_context(socket.create_connection(where, timeout=10)).sendall(head)
        deadline = time.monotonic() + 10
        while client.get("/v1/server").status_code != 429:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        stack.close()
        while client.get("/v1/server").status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_sets_whose_photos_lead_out_of_the_folder(serve, tmp_path):
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.mkdir()
    inside.mkdir()
    Image.new("RGB", (20, 20)).save(outside / "private.png")
    Image.new("RGB", (20, 20)).save(inside / "own.png")
    try:
        (inside / "link.png").symlink_to(outside / "private.png")
        (inside / "twin.png").symlink_to(inside / "own.png")
    except OSError:
        pytest.skip("this system makes no links here")
    with serve(tmp_path / "projects", files=inside) as client:
        answer = client.post("/v1/projects", json={"path": ""})
        assert answer.status_code == 403
        assert "link.png is a link" in detail(answer)
        (inside / "link.png").unlink()
        assert client.post("/v1/projects", json={"path": ""}).json()["num_frames"] == 2


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
