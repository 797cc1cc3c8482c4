"""Projects are opened when they are asked for, resumed by their source, and closed when nobody uses them."""

import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi")

from sam2.web.engine.prompts import rle_mask
from sam2.web.errors import StudioError
from sam2.web.projects.images import ImageProject
from sam2.web.projects.store import ProjectStore, read_record
from sam2.web.schemas import NewObject, NewProject, Prompts
from sam2.web.settings import StudioSettings
from sam2.web.studio import Studio, open_studio


def photo(path: Path, size: tuple[int, int] = (64, 48), **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.effect_noise(size, 40).convert("RGB").save(path, **options)
    return path


def drawn(height: int, width: int, *, rows: int = 10) -> Prompts:
    mask = np.zeros((height, width), bool)
    mask[:rows, :10] = True
    return Prompts(mask=rle_mask(mask))


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Two folders of photos."""
    for name in ("b2.png", "b10.png", "b1.png"):
        photo(tmp_path / "files" / "first" / name)
    photo(tmp_path / "files" / "second" / "one.png")
    return tmp_path / "files"


@pytest.fixture
def studio(nano, files: Path, tmp_path: Path) -> Iterator[Studio]:
    """A studio that may open these."""
    opened = open_studio(StudioSettings(projects=tmp_path / "projects", files=files), nano)
    yield opened
    opened.close()


def test_the_same_source_is_resumed_another_gets_its_own(studio, files):
    first, new = studio.projects.create(NewProject(path="first"))
    assert new
    assert studio.projects.create(NewProject(path="first")) == (first, False)
    again, new = studio.projects.create(NewProject(path="first", name="once more"))
    assert (new, again.name) == (True, "once more")
    shutil.copytree(files / "first", files / "second" / "first")
    other, new = studio.projects.create(NewProject(path="second/first"))
    assert (new, other.name) == (True, "first-2")
    with pytest.raises(StudioError, match="project first is of another source") as caught:
        studio.projects.create(NewProject(path="second", name="first"))
    assert caught.value.status == 409


def test_who_asks_at_the_same_time_gets_the_same_project(studio):
    name = studio.projects.create(NewProject(path="first"))[0].name
    studio.projects.close_idle(now=time.monotonic() + 1e6)
    assert studio.projects.open_names == []
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(studio.projects.get, [name] * 16))
    assert len({id(project) for project in found}) == 1


def test_idle_projects_are_closed_and_opened_again(studio):
    project = studio.projects.create(NewProject(path="first"))[0]
    made = project.add_object(NewObject(frame=1))
    said = project.set_prompts(1, made.id, drawn(48, 64))
    project.show(2)
    studio.projects.close_idle()
    assert studio.projects.open_names == ["first"]
    studio.projects.close_idle(now=time.monotonic() + 60 * studio.settings.idle_minutes + 1)
    assert studio.projects.open_names == []
    ProjectStore(project.folder).close()  # nobody holds it
    again = studio.projects.get("first")
    assert again.frame(1).objects == (said,)
    assert again.state().last_frame == 2


def test_photos_that_come_and_go_keep_the_labels_of_the_others(studio, files):
    project = studio.projects.create(NewProject(path="first"))[0]
    assert [item.name for item in project.frames()] == ["b1.png", "b2.png", "b10.png"]
    for frame in (0, 1):
        project.set_prompts(frame, project.add_object(NewObject(frame=frame)).id, drawn(48, 64, rows=4 + frame))
    studio.projects.close_idle(now=time.monotonic() + 1e6)
    (files / "first" / "b1.png").unlink()
    photo(files / "first" / "a.png")
    project = studio.projects.get("first")
    assert [(item.name, item.objects) for item in project.frames()] == [
        ("b1.png", 1),
        ("b2.png", 1),
        ("b10.png", 0),
        ("a.png", 0),
    ]
    assert project.frame(1).objects[0].area == 50
    with pytest.raises(StudioError, match=r"photo b1.png is gone") as caught:
        project.frame(0)
    assert caught.value.status == 404
    assert [(image.name, image.objects[0].area) for image in project.annotated()] == [("b1.png", 40), ("b2.png", 50)]


@pytest.mark.parametrize("empty", [False, True])
def test_without_its_source_a_project_still_gives_its_labels(studio, files, empty):
    project = studio.projects.create(NewProject(path="first"))[0]
    project.set_prompts(0, project.add_object(NewObject(frame=0)).id, drawn(48, 64))
    studio.projects.close_idle(now=time.monotonic() + 1e6)
    shutil.rmtree(files / "first")
    if empty:
        (files / "first").mkdir()
    project = studio.projects.get("first")
    assert (project.state().num_frames, project.state().width) == (3, 0)
    with pytest.raises(StudioError) as caught:
        project.picture(0)
    assert caught.value.status == 404
    assert str(files) not in caught.value.detail
    assert [image.name for image in project.annotated()] == ["b1.png"]
    assert studio.projects.summaries()[0].missing is not empty


def test_photos_are_upright_and_of_any_size(studio, files):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    photo(files / "first" / "turned.jpg", (80, 40), exif=exif)
    project = studio.projects.create(NewProject(path="first"))[0]
    index = [item.name for item in project.frames()].index("turned.jpg")
    state = project.frame(index)
    assert (state.width, state.height) == (40, 80)
    assert project.picture(index).shape == (80, 40, 3)
    item = project.set_prompts(index, project.add_object(NewObject(frame=index)).id, drawn(80, 40))
    assert item.area == 100
    with pytest.raises(StudioError, match="mask must be 40 x 80"):
        project.set_prompts(index, item.object_id, drawn(40, 80))


def test_found_objects_come_all_or_not_at_all(studio, monkeypatch):
    project = studio.projects.create(NewProject(path="first"))[0]
    masks = [said.mask for said in (drawn(48, 64), drawn(48, 64, rows=20)) if said.mask is not None]

    def full(*_: object) -> None:
        raise StudioError(507, "frame 0 could not be saved: the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(project.store, "put", full)
        with pytest.raises(StudioError):
            project.add_found(0, masks, scores=(0.9, 0.8))
    assert project.state().objects == ()
    found = project.add_found(0, masks, label="thing", scores=(0.9, 0.8))
    assert [(item.area, item.score, item.source) for item in found] == [
        (100, 0.9, "everything"),
        (200, 0.8, "everything"),
    ]
    assert project.state().labels == ("thing",)
    assert [item.score for image in project.annotated() for item in image.objects] == [0.9, 0.8]


def test_damaged_projects_can_be_deleted_others_are_left_alone(studio, files):
    folder = studio.settings.projects / "torn"
    folder.mkdir()
    with pytest.raises(StudioError, match="there is no project torn"):
        studio.projects.delete("torn")
    assert folder.is_dir()
    (folder / "project.json").write_text("{")
    studio.projects.delete("torn")
    assert not folder.exists()
    studio.projects.create(NewProject(path="first"))
    studio.projects.delete("first")
    assert len(list((files / "first").iterdir())) == 3
    assert studio.projects.summaries() == []


def test_hundreds_of_projects_are_listed_quickly(studio):
    first = studio.projects.create(NewProject(path="first"))[0]
    for number in range(300):
        shutil.copytree(first.folder, first.folder.with_name(f"copy-{number}"))
    started = time.perf_counter()
    assert len(studio.projects.summaries()) == 301
    assert time.perf_counter() - started < 2


def test_another_project_answers_while_one_is_opened(studio, monkeypatch):
    """Opening a long video takes seconds."""
    slow, quick = (studio.projects.create(NewProject(path=path))[0].name for path in ("first", "second"))
    studio.projects.close_idle(now=time.monotonic() + 1e6)
    begun, go_on, opened = threading.Event(), threading.Event(), []
    init = ImageProject.__init__

    def opening(project, store, *parts):
        if store.folder.name == slow:
            opened.append(slow)
            begun.set()
            assert go_on.wait(20)
        init(project, store, *parts)

    monkeypatch.setattr(ImageProject, "__init__", opening)
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(studio.projects.get, slow) for _ in range(3)]
        assert begun.wait(20)
        assert studio.projects.get(quick).name == quick
        assert len(studio.projects.summaries()) == 2
        assert not any(one.done() for one in waiting)
        go_on.set()
        assert len({id(one.result(20)) for one in waiting}) == 1
    assert opened == [slow]


def test_an_opening_that_fails_leaves_nothing(studio, monkeypatch):
    name = studio.projects.create(NewProject(path="first"))[0].name
    studio.projects.close_idle(now=time.monotonic() + 1e6)

    def failing(*parts):
        raise StudioError(415, "it is damaged")

    with monkeypatch.context() as patched:
        patched.setattr(ImageProject, "__init__", failing)
        for _ in range(2):
            with pytest.raises(StudioError, match="it is damaged"):
                studio.projects.get(name)
        assert studio.projects.open_names == []
    assert studio.projects.get(name).num_frames == 3


def test_projects_that_take_too_much_memory_are_closed_those_used_longest_ago_first(studio, monkeypatch):
    for path in ("first", "second"):
        studio.projects.create(NewProject(path=path))
    studio.projects.get("first")
    monkeypatch.setattr(ImageProject, "num_bytes", property(lambda project: 300 * 2**20))
    assert studio.projects.num_bytes == 600 * 2**20 > studio.settings.memory_mb * 2**20

    studio.projects.close_idle()
    assert studio.projects.open_names == ["second", "first"]  # both were asked for just now
    studio.projects.close_idle(now=time.monotonic() + 60)
    assert studio.projects.open_names == ["first"]
    assert studio.projects.get("second").num_frames == 1


def test_what_works_is_not_closed_for_its_memory(studio, monkeypatch):
    name = studio.projects.create(NewProject(path="first"))[0].name
    monkeypatch.setattr(ImageProject, "num_bytes", property(lambda project: 2**40))
    done = threading.Event()
    studio.jobs.start(name, "export", lambda job: done.wait(20))

    studio.projects.close_idle(now=time.monotonic() + 1e6)
    assert studio.projects.open_names == [name]
    done.set()
    while studio.jobs.running(name):
        time.sleep(0.01)
    studio.projects.close_idle(now=time.monotonic() + 1e6)
    assert studio.projects.open_names == []


def test_a_name_that_no_folder_can_have_is_refused_with_a_sentence(studio):
    for name in ("../x", "con", "a/b", "x" * 101, " x", "x."):
        with pytest.raises(StudioError, match="name must have letters") as caught:
            studio.projects.create(NewProject.model_construct(path="first", upload=None, name=name))
        assert caught.value.status == 422
    assert studio.projects.summaries() == []


def test_the_frame_that_is_seen_is_on_disk_before_a_crash(studio):
    project = studio.projects.create(NewProject(path="first"))[0]
    project.show(2)
    assert read_record(project.folder).last_frame == 2
