"""Everything in a photo or frame: what is found becomes objects, but for what is known already."""

import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import sam2
from sam2.automatic.proposals import MaskProposal
from sam2.interop.rle import decode_mask, encode_mask
from sam2.web.engine.features import FeatureCache
from sam2.web.engine.prompts import rle_mask
from sam2.web.engine.runner import Runner
from sam2.web.events import EventBus
from sam2.web.jobs import Job, Jobs
from sam2.web.projects.everything import choose_new, find_everything
from sam2.web.projects.images import ImageProject
from sam2.web.projects.project import Context
from sam2.web.projects.store import ProjectRecord, ProjectStore
from sam2.web.schemas import EverythingRequest, NewObject, Prompts

HEIGHT, WIDTH = 120, 160
PLACES = {"red": (slice(15, 55), slice(15, 60)), "green": (slice(70, 105), slice(90, 140))}


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    runner = Runner(sam2.load("nano"))
    yield runner
    runner.close()


@pytest.fixture
def project(runner: Runner, tmp_path: Path) -> Iterator[ImageProject]:
    picture = np.random.default_rng(1).integers(70, 90, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    picture[PLACES["red"]] = (220, 40, 40)
    picture[PLACES["green"]] = (40, 220, 60)
    path = tmp_path / "photo.png"
    Image.fromarray(cv2.GaussianBlur(picture, (3, 3), 0)).save(path)
    bus = EventBus()
    context = Context(runner, FeatureCache(runner, 2**28), Jobs(bus.publish), bus)
    record = ProjectRecord(title="photo", kind="images", model="nano", source=str(path))
    project = ImageProject(ProjectStore(tmp_path / "project", record), path, context)
    yield project
    project.close()


def job() -> Job:
    return Job("photo", "everything", total=0, publish=lambda *told: None)


def square(name: str) -> NDArray[np.bool_]:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[PLACES[name]] = True
    return mask


def shown(project: ImageProject, name: str) -> list[int]:
    """Objects that are as good as this square."""
    found = []
    for item in project.frame(0).objects:
        assert item.mask is not None
        mask = decode_mask(item.mask.model_dump())
        if (mask & square(name)).sum() / (mask | square(name)).sum() > 0.7:
            found.append(item.object_id)
    return found


def test_objects_are_found_once(project: ImageProject, runner: Runner) -> None:
    first, again = job(), job()

    find_everything(project, 0, EverythingRequest(points_per_side=8, label="toy"), runner=runner, job=first)

    objects = project.state().objects
    assert len(shown(project, "red")) == len(shown(project, "green")) == 1
    assert {item.label for item in objects} == {"toy"}
    assert {item.source for item in project.frame(0).objects} == {"everything"}
    assert all(0 < item.score <= 1 for item in project.frame(0).objects)
    assert (first.state().done, first.state().total) == (64, 64)
    assert first.message == f"{len(objects)} objects were found"

    find_everything(project, 0, EverythingRequest(points_per_side=8), runner=runner, job=again)

    assert project.state().objects == objects
    assert again.message == "nothing new was found"


def test_what_is_known_is_left_out(project: ImageProject, runner: Runner) -> None:
    known = project.add_object(NewObject(frame=0)).id
    project.set_prompts(0, known, Prompts(mask=rle_mask(square("red"))))

    find_everything(project, 0, EverythingRequest(points_per_side=8), runner=runner, job=job())

    assert shown(project, "red") == [known]
    assert len(shown(project, "green")) == 1


def test_no_more_than_was_asked_for(project: ImageProject, runner: Runner) -> None:
    find_everything(project, 0, EverythingRequest(points_per_side=8, max_masks=1), runner=runner, job=job())

    assert len(project.frame(0).objects) == 1


def test_stopped_it_adds_nothing(project: ImageProject, runner: Runner) -> None:
    stopped = job()
    stopped.cancel()

    find_everything(project, 0, EverythingRequest(points_per_side=8), runner=runner, job=stopped)

    assert project.frame(0).objects == ()


def test_clicks_are_answered_in_between(project: ImageProject, runner: Runner) -> None:
    project.encoded(0)
    running = job()
    arguments = {"runner": runner, "job": running}
    thread = threading.Thread(
        target=find_everything, args=(project, 0, EverythingRequest(points_per_side=16)), kwargs=arguments
    )
    thread.start()
    project.preview(0, Prompts(box=(15, 15, 60, 55)))
    done = running.state().done
    thread.join()

    assert done < running.state().done


def proposal(mask: NDArray[np.bool_], iou: float) -> MaskProposal:
    return MaskProposal(encode_mask(mask), (0, 0, 1, 1), iou, 0.95, (0.0, 0.0), (0, 0, WIDTH, HEIGHT))


def test_specks_and_the_whole_frame_are_no_objects() -> None:
    speck = np.zeros((HEIGHT, WIDTH), bool)
    speck[3:6, 3:6] = True
    found = [proposal(speck, 0.99), proposal(np.ones((HEIGHT, WIDTH), bool), 0.99), proposal(square("red"), 0.8)]

    (chosen,) = choose_new(found, [], size=(HEIGHT, WIDTH), most=10)

    assert np.array_equal(decode_mask(chosen.mask.model_dump()), square("red"))
    assert chosen.score == 0.8


def test_small_holes_and_islands_go() -> None:
    mask = square("red")
    mask[20:22, 20:22] = False
    mask[100:102, 5:7] = True

    (chosen,) = choose_new([proposal(mask, 0.9)], [], size=(HEIGHT, WIDTH), most=10)

    assert np.array_equal(decode_mask(chosen.mask.model_dump()), square("red"))


def test_nothing_found() -> None:
    assert choose_new([], [rle_mask(square("red"))], size=(HEIGHT, WIDTH), most=10) == []
