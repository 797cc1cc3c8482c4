from pathlib import Path

import pytest

from sam2.cli.prompts import ObjectPrompt, parse_prompts


def test_all_points_and_one_box_are_one_object() -> None:
    assert parse_prompts(["320,240", "40.5,30,0"], ["10,20,300,400"], ["prev.png"]) == [
        ObjectPrompt(1, ((320.0, 240.0), (40.5, 30.0)), (1, 0), (10.0, 20.0, 300.0, 400.0), Path("prev.png"))
    ]


def test_several_boxes_are_several_objects() -> None:
    prompts = parse_prompts([], ["0,0,5,5", "1,1,6,6", "2,2,7,7"], [])
    assert [prompt.object_id for prompt in prompts] == [1, 2, 3]
    assert prompts[2].box == (2.0, 2.0, 7.0, 7.0)


def test_names_put_things_together() -> None:
    prompts = parse_prompts(["2@7,8", "1,2", "12@5,5,0"], ["0,0,5,5", "12@1,1,6,6"], ["2@prev.png"])
    assert [prompt.object_id for prompt in prompts] == [1, 2, 12]
    assert prompts[0] == ObjectPrompt(1, ((1.0, 2.0),), (1,), (0.0, 0.0, 5.0, 5.0))
    assert prompts[1] == ObjectPrompt(2, ((7.0, 8.0),), (1,), None, Path("prev.png"))
    assert prompts[2] == ObjectPrompt(12, ((5.0, 5.0),), (0,), (1.0, 1.0, 6.0, 6.0))


def test_a_point_may_correct_the_second_of_several_boxes() -> None:
    prompts = parse_prompts(["2@3,3,0"], ["0,0,5,5", "1,1,6,6"], [])
    assert prompts[1].points == ((3.0, 3.0),)
    assert prompts[1].box == (1.0, 1.0, 6.0, 6.0)


def test_file_names_may_hold_an_at_sign() -> None:
    assert parse_prompts([], [], ["me@home.png"])[0].mask == Path("me@home.png")
    assert parse_prompts([], [], ["./2@x.png"])[0].mask == Path("2@x.png")


@pytest.mark.parametrize(
    ("points", "boxes", "masks", "single"),
    [
        (["1,2"], [], [], True),
        (["1,2", "3,4"], [], [], False),
        (["1,2"], ["0,0,5,5"], [], False),
        (["1,2"], [], ["m.png"], False),
        ([], ["0,0,5,5"], [], False),
    ],
)
def test_what_counts_as_a_single_click(points: list[str], boxes: list[str], masks: list[str], single: bool) -> None:
    assert parse_prompts(points, boxes, masks)[0].is_single_click is single


@pytest.mark.parametrize("number", ["1e3", "-5", " 7 ", "+3.25"])
def test_numbers_as_people_write_them(number: str) -> None:
    assert parse_prompts([f"{number},2"], [], [])[0].points == ((float(number), 2.0),)


@pytest.mark.parametrize(
    ("points", "boxes", "masks", "message"),
    [
        ([], [], [], "nothing to segment"),
        (["320"], [], [], r"--point 320: expected x,y or x,y,label"),
        (["1,2,3,4"], [], [], "expected x,y or x,y,label"),
        (["a,2"], [], [], "'a' is not a number"),
        (["1;2"], [], [], "expected x,y"),
        ([""], [], [], "expected x,y"),
        (["1,"], [], [], "'' is not a number"),
        (["nan,2"], [], [], "coordinates must be finite, got 'nan'"),
        (["1,inf"], [], [], "coordinates must be finite, got 'inf'"),
        (["1,2,2"], [], [], "label must be 1 .* or 0"),
        (["1,2,yes"], [], [], "label must be 1 .* or 0"),
        (["0@1,2"], [], [], "positive whole number, got '0'"),
        (["-1@1,2"], [], [], "positive whole number, got '-1'"),
        (["cat@1,2"], [], [], "positive whole number, got 'cat'"),
        (["1.5@1,2"], [], [], "positive whole number"),
        (["@1,2"], [], [], "positive whole number, got ''"),
        (["9999999999@1,2"], [], [], "positive whole number"),
        ([], ["1,2,3"], [], "expected x0,y0,x1,y1, got 3"),
        ([], ["10,10,5,20"], [], "must be left of and above"),
        ([], ["10,10,20,5"], [], "must be left of and above"),
        ([], ["10,10,10,20"], [], "must be left of and above"),
        ([], ["10,nan,20,20"], [], "coordinates must be finite"),
        ([], ["1@0,0,5,5", "1@0,0,6,6"], [], "object 1 has two boxes"),
        ([], ["1@0,0,5,5", "0,0,6,6"], [], "object 1 has two boxes"),
        (["1,2"], ["0,0,5,5", "0,0,6,6"], [], "say which object the point belongs to, as in --point 2@1,2"),
        (["1,2"], [], ["a.png", "b.png"], "several masks, say which object"),
        ([], [], ["a.png", "1@b.png"], "object 1 has two masks"),
        ([], [], ["0@a.png"], "positive whole number"),
        ([], [], ["2@"], "expected a file"),
    ],
)
def test_wrong_prompts_are_named(points: list[str], boxes: list[str], masks: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_prompts(points, boxes, masks)
