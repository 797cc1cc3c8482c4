"""Prompts of ``sam2 video``, typed and from files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sam2.cli.video.prompts import (
    VideoPrompt,
    merge,
    parse_video_prompts,
    prompt_records,
    prompts_of,
    read_prompts_file,
)
from sam2.interop.rle import encode_mask


def test_what_the_options_say() -> None:
    assert parse_video_prompts(["0:320,240", "2@30:50,60,0"], ["2@30:10,20,200,180"], ["3@0:mask.png"]) == [
        VideoPrompt(1, ((320.0, 240.0),), (1,), frame=0),
        VideoPrompt(3, mask=Path("mask.png"), frame=0),
        VideoPrompt(2, ((50.0, 60.0),), (0,), (10.0, 20.0, 200.0, 180.0), frame=30),
    ]


def test_points_of_one_object_on_one_frame_belong_together_in_order() -> None:
    (prompt,) = parse_video_prompts(["5:1,2", "1@5:3,4,0", "5:5,6"], [], [])
    assert prompt.points == ((1.0, 2.0), (3.0, 4.0), (5.0, 6.0))
    assert prompt.labels == (1, 0, 1)


def test_without_a_frame_it_is_the_first_one() -> None:
    assert [prompt.frame for prompt in parse_video_prompts(["7,8"], ["2@1,1,5,5"], ["3@a.png"])] == [0, 0, 0]


@pytest.mark.parametrize(
    ("text", "frame", "name"),
    [("4:C:\\masks\\a.png", 4, "C:\\masks\\a.png"), ("C:\\a.png", 0, "C:\\a.png"), ("2:me@home.png", 2, "me@home.png")],
)
def test_file_names_may_hold_colons_and_at_signs(text: str, frame: int, name: str) -> None:
    (prompt,) = parse_video_prompts([], [], [text])
    assert (prompt.frame, prompt.mask, prompt.object_id) == (frame, Path(name), 1)


@pytest.mark.parametrize(
    ("points", "boxes", "masks", "message"),
    [
        (["x:1,2"], [], [], "the frame before : must be a whole number from 0, got 'x'"),
        (["-1:1,2"], [], [], "got '-1'"),
        (["1.5:1,2"], [], [], "got '1.5'"),
        (["0@3:1,2"], [], [], "object id before @"),
        (["3:1"], [], [], "expected x,y"),
        (["3:1,2,7"], [], [], "label must be 1"),
        ([], ["3:5,5,1,1"], [], "left of and above"),
        ([], ["3:5,5,1"], [], "expected x0,y0,x1,y1"),
        ([], ["0:1,1,5,5", "0:2,2,6,6"], [], "object 1 on frame 0 has two boxes"),
        ([], [], ["3:"], "expected a file"),
        ([], [], ["3:a.png", "1@3:b.png"], "two masks"),
    ],
)
def test_what_cannot_be_read(points: list[str], boxes: list[str], masks: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_video_prompts(points, boxes, masks)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    mask = np.zeros((6, 9), bool)
    mask[2:4, 3:8] = True
    prompts = [
        VideoPrompt(2, ((50.5, 60.0),), (0,), (10.0, 20.0, 200.0, 180.0), frame=3),
        VideoPrompt(7, frame=9, rle=encode_mask(mask)),
    ]
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"video": "a.mp4", "prompts": prompt_records(prompts), "frames": []}))
    assert read_prompts_file(path) == prompts


def test_a_bare_list_with_the_least_there_is(tmp_path: Path) -> None:
    path = tmp_path / "prompts.json"
    path.write_text('[{"points": [[1, 2]]}, {"frame": 4, "object": 3, "mask": "m.png"}]')
    assert read_prompts_file(path) == [
        VideoPrompt(1, ((1.0, 2.0),), (1,), frame=0),
        VideoPrompt(3, mask=tmp_path / "m.png", frame=4),
    ]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ("a", "expected an object"),
        ({}, "says nothing"),
        ({"point": [[1, 2]]}, "unknown field 'point'"),
        ({"points": [[1, 2]], "frame": -1}, '"frame" must be a whole number from 0'),
        ({"points": [[1, 2]], "frame": True}, '"frame"'),
        ({"points": [[1, 2]], "object": 0}, '"object" must be a whole number from 1'),
        ({"points": [[1, 2]], "object": "1"}, '"object"'),
        ({"points": [1, 2]}, '"points" must be a list'),
        ({"points": [[1, 2, 2]]}, "label must be"),
        ({"points": [[1, "2"]]}, "finite numbers"),
        ({"points": [[1, float("nan")]]}, "finite numbers"),
        ({"box": [1, 2, 3]}, '"box" must be'),
        ({"box": [5, 5, 1, 1]}, "left of and above"),
        ({"mask": 3}, '"mask" must be'),
        ({"mask": {"size": [1, 1]}}, '"mask" must be'),
    ],
)
def test_records_that_say_nothing_sensible(record: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"here: prompt 1: .*{message}"):
        prompts_of([{"points": [[1, 2]]}, record], name="here", folder=Path())


@pytest.mark.parametrize(("text", "message"), [("{", "is no JSON"), ("3", "a list of prompts"), ("{}", "a list")])
def test_files_that_are_no_prompts(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "prompts.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_prompts_file(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_prompts_file(tmp_path / "a.json")


def test_merge_refuses_what_contradicts_itself() -> None:
    one = VideoPrompt(1, box=(0.0, 0.0, 5.0, 5.0), frame=2)
    assert merge([one, VideoPrompt(1, ((1.0, 1.0),), (1,), frame=2)])[0].box == one.box
    with pytest.raises(ValueError, match="two boxes"):
        merge([one, one])
