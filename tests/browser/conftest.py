"""The studio as a process of its own, and its page in Chromium."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browser_studio import Running, Start

import sam2

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
WATCH_POLICY = """addEventListener("securitypolicyviolation", (event) =>
    console.error(`policy: ${event.effectiveDirective} refused ${event.blockedURI}`));"""


def _drain(pipe: Any) -> None:
    """Read on: a full pipe would stop the process."""
    with pipe:
        for _ in pipe:
            pass


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """``start(path)`` runs ``sam2 studio path`` on the projects of the test; ``port=`` at a port that is known."""
    running: list[Running] = []

    def starting(path: Path, *, port: int | None = None) -> Running:
        command = [sys.executable, "-m", "sam2", "studio", str(path), "--no-browser"]
        command += ["--projects", str(tmp_path / "projects")]
        command += [] if port is None else ["--port", str(port)]
        environment = {**os.environ, "PYTHONPATH": str(Path(sam2.__file__).parents[1]), "PYTHONUNBUFFERED": "1"}
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        process = subprocess.Popen(command, env=environment, **pipes)
        running.append(Running(process, ""))
        said = []
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            found = re.search(r"http://[\d.]+:\d+", line)
            if found:
                running[-1].address = found.group()
                threading.Thread(target=_drain, args=[process.stdout], daemon=True).start()
                return running[-1]
        pytest.fail(f"the studio did not start: {said}")

    yield starting
    for one in running:
        with contextlib.suppress(OSError):
            one.process.kill()
        one.process.wait(20)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Debian's Chromium, driven by Playwright, whose event loop would be in the way of other tests."""
    path = next((found for name in ("chromium", "chromium-browser") if (found := shutil.which(name))), None)
    if path is None:
        if os.environ.get("SAM2_REQUIRE_BROWSER"):
            pytest.fail("Chromium is not installed, and SAM2_REQUIRE_BROWSER forbids to do without")
        pytest.skip("Chromium is not installed: apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed (extra dev)")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def wrong() -> Iterator[list[str]]:
    """What went wrong on pages; a test that means it to takes it out."""
    found: list[str] = []
    yield found
    assert found == []


@pytest.fixture
def new_page(chromium: Any, wrong: list[str]) -> Iterator[Callable[..., Any]]:
    """``new_page(**options)``: a page of a browser that has never been here.

    Errors of its scripts, what its security policy refuses and requests to other machines fail the test.
    """
    contexts: list[Any] = []

    def note(message: Any) -> None:
        # a server that was killed, or refuses something, is what tests are about
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            wrong.append(f"{message.type}: {message.text}")

    def asked(request: Any) -> None:
        if not request.url.startswith(("http://127.0.0.1:", "blob:http://127.0.0.1:", "data:")):
            wrong.append(f"asked {request.url}")

    def answered(response: Any) -> None:
        if response.status >= 500:
            wrong.append(f"{response.status} of {response.url}")

    def opening(**options: Any) -> Any:
        context = chromium.new_context(**{"viewport": {"width": 1100, "height": 720}, **options})
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", note)
        page.on("request", asked)
        page.on("response", answered)
        page.add_init_script(WATCH_POLICY)
        page.set_default_timeout(20_000)
        return page

    yield opening
    for context in contexts:
        context.close()


@pytest.fixture
def page(new_page: Callable[..., Any]) -> Any:
    """Such a page, on a desk."""
    return new_page()
