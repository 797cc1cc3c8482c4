import pytest

from sam2.interop.entries import Entry, as_kind, at
from sam2.interop.files import write_json

ENTRY = Entry({"text": "a", "whole": 3, "share": 0.5, "round": 4.0, "null": None, "list": [1, 2.5]}, "a.json: rows[1]")


def test_fields_have_their_kinds() -> None:
    assert (ENTRY.get("text", str), ENTRY.get("whole", int), ENTRY.get("share", float)) == ("a", 3, 0.5)
    assert (ENTRY.get("round", int), type(ENTRY.get("round", int))) == (4, int)
    assert (ENTRY.get("whole", float), type(ENTRY.get("whole", float))) == (3.0, float)
    assert ENTRY.numbers("list", 2) == (1.0, 2.5)
    assert (ENTRY.key("text"), ENTRY.key("whole")) == ("a", 3)


def test_what_is_missing_or_null_may_have_a_default() -> None:
    assert ENTRY.find("null", str) is None
    assert ENTRY.find("nothing", int, 7) == 7
    assert "null" not in ENTRY
    assert "text" in ENTRY
    assert list(ENTRY.entries("nothing")) == []


def test_entries_of_a_list_know_where_they_stand(tmp_path) -> None:
    write_json(tmp_path / "a.json", {"rows": [{"n": 1}, {}, 3], "head": {"n": "x"}})
    document = Entry.read(tmp_path / "a.json")
    rows = document.entries("rows")

    assert next(rows).get("n", int) == 1
    with pytest.raises(ValueError, match=r"a\.json: rows\[1\]: 'n' is missing"):
        next(rows).get("n", int)
    with pytest.raises(ValueError, match=r"a\.json: rows\[2\] must be a JSON object, got 3"):
        next(rows)
    with pytest.raises(ValueError, match=r"a\.json: head: 'n' must be a number, got 'x'"):
        document.child("head").get("n", float)


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        (True, int, "must be a whole number, got True"),
        (0.5, int, "must be a whole number, got 0.5"),
        (float("nan"), float, "must be a number, got nan"),
        (float("inf"), float, "must be a number, got inf"),
        (10**400, float, "must be a number, got 1000"),
        ("3", int, "must be a whole number, got '3'"),
        (3, str, "must be text, got 3"),
        ({}, list, "must be a list, got an object"),
        ([], dict, "must be an object, got a list"),
        ("a" * 100, list, r"must be a list, got 'a{36}\.\.\.$"),
    ],
)
def test_other_kinds_are_refused(value, kind, message) -> None:
    with pytest.raises(ValueError, match=message):
        as_kind(value, kind)


def test_lists_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match=r"a\.json: rows\[1\]: 'list': must hold 4 numbers, got 2"):
        ENTRY.numbers("list", 4)


@pytest.mark.parametrize(("width", "height"), [(0, 5), (5, -1), (2**40, 2**40)])
def test_sizes_are_those_of_pictures(width, height) -> None:
    assert Entry({"w": 4, "h": 3}, "a").size("w", "h") == (3, 4)
    with pytest.raises(ValueError, match=rf"a: 'width' and 'height' must be a picture's, got {width} x {height}"):
        Entry({"width": width, "height": height}, "a").size()


def test_errors_say_where_they_were() -> None:
    with pytest.raises(ValueError, match=r"^here: what$"), at("here"):
        raise ValueError("what")
