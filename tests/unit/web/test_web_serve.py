"""How the studio is started: ports, tokens, addresses, and what cannot be opened."""

import threading
import time
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from sam2.cli.studio import default_projects, studio
from sam2.web import serve as serving
from sam2.web.serve import PORT, Wanted, address_of, listen, serve, settings_of

whole = serving._Server
WANTED = Wanted(
    path=None,
    port=0,
    host="127.0.0.1",
    token=None,
    browser=False,
    model="nano",
    device="cpu",
    projects=Path("projects"),
    idle_minutes=30,
    memory_mb=64,
)


def test_a_port_that_is_taken():
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(OSError, match=f"cannot listen at 127.0.0.1 port {port}"):
            listen("127.0.0.1", port)
    with pytest.raises(ValueError, match="port must be 0 to 65535, got 99999"):
        listen("127.0.0.1", 99999)


def test_without_a_port_the_next_free_one_is_taken():
    with listen("127.0.0.1", None) as first, listen("127.0.0.1", None) as second:
        ports = first.getsockname()[1], second.getsockname()[1]
    assert ports[0] != ports[1]
    assert all(port >= PORT or port > 1023 for port in ports)


def test_a_token_is_made_up_where_others_can_come(tmp_path):
    local = settings_of(WANTED, port=8000)
    assert (local.token, address_of(local)) == (None, "http://127.0.0.1:8000/")
    first, second = (settings_of(replace(WANTED, host="0.0.0.0"), port=8000) for _ in range(2))
    assert first.token
    assert second.token
    assert first.token != second.token
    assert address_of(first).endswith(f":8000/?token={first.token}")
    given = settings_of(replace(WANTED, host="::1", token="my-own-token"), port=8000)
    assert address_of(given) == "http://[::1]:8000/?token=my-own-token"


def test_the_folder_that_may_be_opened(tmp_path):
    (tmp_path / "a.png").write_bytes(b"x")
    assert settings_of(WANTED, port=1).files is None
    assert settings_of(replace(WANTED, path=tmp_path), port=1).files == tmp_path.resolve()
    assert settings_of(replace(WANTED, path=tmp_path / "a.png"), port=1).files == tmp_path.resolve()


def test_what_cannot_be_opened_is_said(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    wanted = replace(WANTED, path=tmp_path / "notes.txt", projects=tmp_path / "projects")
    with pytest.raises(ValueError, match="neither a photo nor a video"):
        serve(wanted, say=lambda _: None)
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        studio(tmp_path / "nothing")


def test_clients_do_not_choose_their_address(monkeypatch, tmp_path):
    """Or each guess of the token would come from another client."""
    servers, said = [], []
    monkeypatch.setattr(serving, "_Server", lambda *given: servers.append(whole(*given)) or servers[-1])
    wanted = replace(WANTED, projects=tmp_path, token="a-token-that-is-long")
    thread = threading.Thread(target=serve, args=(wanted,), kwargs={"say": said.append}, daemon=True)
    thread.start()
    deadline = time.monotonic() + 60
    while not (servers and servers[0].started):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    address = said[0].split()[-1].partition("?")[0]
    try:
        statuses = [
            httpx.get(f"{address}v1/server", headers={"authorization": "Bearer x", "x-forwarded-for": f"10.0.0.{n}"})
            for n in range(15)
        ]
        assert {answer.status_code for answer in statuses} == {401, 429}
        assert "server" not in statuses[0].headers
    finally:
        servers[0].should_exit = True
        thread.join(30)
    assert not thread.is_alive()


def test_where_projects_are_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("SAM2_PROJECTS", str(tmp_path))
    assert default_projects() == tmp_path
    monkeypatch.delenv("SAM2_PROJECTS")
    assert default_projects().parts[-2:] == ("sam2", "projects")
