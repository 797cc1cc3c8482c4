import json
from pathlib import Path, PurePosixPath

import pytest

from sam2.interop.files import (
    Draft,
    DraftFolder,
    JsonObjectDraft,
    inner_path,
    json_text,
    read_json,
    video_path,
    write_file,
    write_json,
)


def content(folder: Path) -> dict[str, str]:
    """Files of a folder, by name."""
    return {p.relative_to(folder).as_posix(): p.read_text("utf-8") for p in folder.rglob("*") if p.is_file()}


def test_a_draft_appears_when_it_is_closed(tmp_path) -> None:
    path = tmp_path / "a/b.txt"
    draft = Draft(path)
    draft.write("é")
    draft.write(b"\n")
    assert not path.exists()

    draft.close()
    draft.close()
    draft.discard()

    assert content(tmp_path) == {"a/b.txt": "é\n"}


def test_a_draft_that_is_discarded_leaves_what_was_there(tmp_path) -> None:
    write_file(tmp_path / "a.txt", "before")
    draft = Draft(tmp_path / "a.txt")
    draft.write("after")

    draft.discard()
    draft.close()

    assert content(tmp_path) == {"a.txt": "before"}


def test_an_error_discards_the_draft(tmp_path) -> None:
    def fail() -> None:
        with Draft(tmp_path / "a.txt") as draft:
            draft.write("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()

    assert content(tmp_path) == {}


def test_a_draft_that_cannot_take_its_place_is_thrown_away(tmp_path) -> None:
    draft = Draft(tmp_path / "a.txt")
    (tmp_path / "a.txt/in the way").mkdir(parents=True)

    with pytest.raises(OSError, match=r"a\.txt"):
        draft.close()

    assert content(tmp_path) == {}


def test_json_is_written_in_utf8_on_one_line(tmp_path) -> None:
    write_json(tmp_path / "a.json", {"ä": [1, 2.5, None]})

    assert content(tmp_path) == {"a.json": '{"ä":[1,2.5,null]}\n'}
    assert read_json(tmp_path / "a.json") == {"ä": [1, 2.5, None]}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_json_lacks_are_not_written(value) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_text({"score": value})


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe", b"[" * 200_000, b'{"a": 1} x', b"1" * 5000 + b"x"])
def test_what_is_not_json_is_refused(tmp_path, data) -> None:
    path = tmp_path / "broken.json"
    path.write_bytes(data)

    with pytest.raises(ValueError, match=r"broken\.json is not JSON"):
        read_json(path)


def test_a_file_that_is_not_there(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="missing"):
        read_json(tmp_path / "missing.json")


def test_long_lists_stand_first_and_in_order(tmp_path) -> None:
    draft = JsonObjectDraft(tmp_path / "a.json", "rows", "names", "nothing")
    for number in range(3):
        draft.add({"n": number})
        draft.add(f"ä{number}", "names")
    draft.close({"labels": ["x"]})

    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {
        "rows": [{"n": 0}, {"n": 1}, {"n": 2}],
        "names": ["ä0", "ä1", "ä2"],
        "nothing": [],
        "labels": ["x"],
    }
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


def test_lists_without_entries_and_other_fields(tmp_path) -> None:
    JsonObjectDraft(tmp_path / "a.json", "rows").close({})

    assert content(tmp_path) == {"a.json": '{"rows":[]}\n'}


def test_an_entry_that_is_no_json_leaves_the_list_whole(tmp_path) -> None:
    draft = JsonObjectDraft(tmp_path / "a.json", "rows")
    draft.add(1)
    with pytest.raises(ValueError, match="JSON"):
        draft.add(float("nan"))
    draft.add(2)
    draft.close({})

    assert read_json(tmp_path / "a.json") == {"rows": [1, 2]}


def test_a_discarded_list_leaves_nothing(tmp_path) -> None:
    draft = JsonObjectDraft(tmp_path / "a.json", "rows", "names")
    draft.add(1, "names")
    draft.discard()
    draft.discard()

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a/b.jpg", "a/b.jpg"),
        ("/etc/a.jpg", "etc/a.jpg"),
        ("../../a.jpg", "a.jpg"),
        ("a/../b.jpg", "a/b.jpg"),
        ("C:\\photos\\a?.jpg", "photos/a_.jpg"),
        ("a\x00b", "a_b"),
        ("", "_"),
        ("..", "_"),
    ],
)
def test_names_stay_in_their_folder(name, expected) -> None:
    assert inner_path(name) == PurePosixPath(expected)


def test_videos_lose_their_extension_only() -> None:
    assert video_path("a/clip.MP4") == PurePosixPath("a/clip")
    assert video_path("clip.v2") == PurePosixPath("clip.v2")


def test_a_folder_appears_when_it_is_closed_and_keeps_what_it_held(tmp_path) -> None:
    folder = tmp_path / "out"
    write_file(folder / "a/old.txt", "old")
    write_file(folder / "a/same.txt", "old")
    draft = DraftFolder(folder)
    draft.write("a/same.txt", "new")
    draft.write("b.txt", "ä")
    assert content(folder) == {"a/old.txt": "old", "a/same.txt": "old"}

    assert draft.close() == [folder / "a", folder / "b.txt"]

    assert content(tmp_path) == {"out/a/old.txt": "old", "out/a/same.txt": "new", "out/b.txt": "ä"}
    assert draft.close() == []


def test_a_discarded_folder_leaves_what_was_there(tmp_path) -> None:
    write_file(tmp_path / "out/a.txt", "old")
    draft = DraftFolder(tmp_path / "out")
    draft.write("a.txt", "new")
    draft.discard()

    assert draft.close() == []
    assert content(tmp_path) == {"out/a.txt": "old"}


def test_names_that_are_taken_get_a_number(tmp_path) -> None:
    draft = DraftFolder(tmp_path / "out")
    names = []
    for _ in range(3):
        place = draft.place("../a/b.json", unique=True)
        place.touch()
        names.append(draft.name_of(place))

    assert names == ["a/b.json", "a/b_2.json", "a/b_3.json"]
