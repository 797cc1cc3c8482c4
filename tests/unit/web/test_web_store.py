"""A project's folder: what is written is whole, what is damaged is named, and one studio at a time holds it."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("fastapi")

from hypothesis import given
from hypothesis import strategies as st

from sam2.web.engine.prompts import frame_object, rle_mask
from sam2.web.errors import StudioError
from sam2.web.projects import store as module
from sam2.web.projects.names import check_name, free_name, name_for
from sam2.web.projects.store import ProjectRecord, ProjectStore, StoredObject, read_record
from sam2.web.schemas import FrameObject, Prompts

HOLDER = """
import sys
from pathlib import Path
from sam2.web.projects.store import hold_folder
held = hold_folder(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def record() -> ProjectRecord:
    return ProjectRecord(title="photos", kind="images", model="nano", source="somewhere")


def drawn(object_id: int) -> FrameObject:
    mask = np.zeros((6, 8), bool)
    mask[1:4, 2:7] = True
    said = rle_mask(mask)
    return frame_object(object_id, said, prompts=Prompts(mask=said), score=1.0, source="prompts")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project's folder that nobody holds, with one object on frame 3."""
    store = ProjectStore(tmp_path / "photos", record())
    store.replace(objects={1: StoredObject(id=1, name="one", colour="#112233", frame=3)}, statuses={3: "review"})
    store.put(3, {1: drawn(1)})
    store.close()
    return tmp_path / "photos"


def test_what_was_stored_is_read_again(folder):
    store = ProjectStore(folder)
    assert store.objects_on(3) == {1: drawn(1)}
    assert store.objects_on(2) == {}
    assert store.marked == {3: {1: True}}
    assert store.record.statuses == {3: "review"}
    assert store.record.objects[1].colour == "#112233"
    store.close()


def test_nothing_on_a_frame_leaves_no_file(folder):
    store = ProjectStore(folder)
    store.put(3, {})
    assert (store.objects_on(3), store.marked, list((folder / "frames").iterdir())) == ({}, {}, [])
    store.close()


def test_what_a_crash_left_half_written_is_not_read(folder):
    (folder / "frames" / ".abc.tmp").write_text('{"objects": [')
    (folder / ".abc.tmp").write_text("{")
    store = ProjectStore(folder)
    assert store.objects_on(3) == {1: drawn(1)}
    store.close()


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b'{"format": 1}', b"[" * 100_000, b'{"format": "one"}']
)
def test_a_damaged_project_is_named(folder, content):
    (folder / "project.json").write_bytes(content)
    with pytest.raises(StudioError, match="project photos is damaged") as caught:
        ProjectStore(folder)
    assert caught.value.status == 409
    assert str(folder.parent) not in caught.value.detail


@pytest.mark.parametrize("content", [b"", b'{"objects": [', b'{"objects": [{}]}', b"\xff", b'{"else": 1}'])
def test_a_damaged_frame_is_named(folder, content):
    (folder / "frames" / "000003.json").write_bytes(content)
    with pytest.raises(StudioError, match=r"frames/000003.json of project photos is damaged") as caught:
        ProjectStore(folder)
    assert caught.value.status == 409
    (folder / "frames" / "000003.json").unlink()
    ProjectStore(folder).close()  # and nobody holds it after that


def test_newer_versions_are_told_apart_from_damage(folder):
    content = json.loads((folder / "project.json").read_bytes())
    (folder / "project.json").write_text(json.dumps({**content, "format": 2, "new": True}))
    with pytest.raises(StudioError, match="newer version of sam2"):
        read_record(folder)


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_changes_neither_memory_nor_disk(folder, monkeypatch, step):
    store = ProjectStore(folder)
    before = {path: path.read_bytes() for path in folder.rglob("*.json")}

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(module.os, step, full)
        for change in (lambda: store.replace(title="other"), lambda: store.put(3, {}) or store.put(4, {1: drawn(1)})):
            with pytest.raises(StudioError) as caught:
                change()
            assert caught.value.status == 507
    assert store.record.title == "photos"
    assert store.objects_on(4) == {}
    store.put(3, {1: drawn(1)})
    store.close()
    assert {path: path.read_bytes() for path in folder.rglob("*.json")} == before
    assert not list(folder.rglob("*.tmp"))


def test_another_process_holds_it_until_it_ends(folder):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StudioError, match="project photos is open in another studio") as caught:
            ProjectStore(folder)
        assert caught.value.status == 409
        holder.kill()
        holder.wait(20)
    ProjectStore(folder).close()  # the lock file is still there, and nobody's


@given(st.text(max_size=300))
def test_any_title_gives_a_name(title):
    name = name_for(title)
    assert check_name(name) == name
    another = free_name(title, {name.upper()})
    assert check_name(another) == another
    assert another.casefold() != name.upper().casefold()


@given(st.text(max_size=120) | st.text("abü./\\ -_\0\n", max_size=12))
def test_a_name_is_one_folder_below(name):
    try:
        check_name(name)
    except StudioError:
        return
    assert Path(name).name == name
    assert not set(name) & set('/\\:*?"<>|\0\n')
    assert len(name.encode()) <= 200
