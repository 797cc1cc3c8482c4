"""The journal of a run over photos: what is in it survives crashes, moves and changes."""

import os
from pathlib import Path

import pytest

from sam2.cli.errors import OutputError
from sam2.cli.image.data_sets import names_in_data_sets
from sam2.cli.image.journal import PhotoJournal
from sam2.cli.journal import JsonLines


def content(*files: str, masks: int = 1) -> dict[str, object]:
    return {"files": list(files), "masks": masks, "objects": []}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def test_what_is_done_is_known_when_it_is_opened_again(out: Path, make_photos) -> None:
    first, second, third = make_photos(1, 2, 3)
    journal = PhotoJournal(out / "j", {"settled": {"--model": "nano"}})
    journal.add(first, "1", content(masks=4))
    journal.add(second, "2", content(masks=2))
    journal.close()

    again = PhotoJournal(out / "j")
    assert again.settled == {"--model": "nano"}
    assert (len(again), again.masks) == (2, 6)
    assert again.get(second).stem == "2"  # type: ignore[union-attr]
    assert again.get(third) is None
    assert [row["masks"] for row in again.rows([again.key(second), again.key(first)])] == [2, 4]
    again.close()


def test_photos_that_changed_and_files_that_are_gone_are_not_done(out: Path, make_photos) -> None:
    changed, robbed = make_photos(1, 2)
    journal = PhotoJournal(out / "j", {"settled": {}})
    (out / "2.json").touch()
    journal.add(changed, "1", content())
    journal.add(robbed, "2", content("2.json"))
    assert journal.get(changed) is not None
    assert journal.get(robbed) is not None

    changed.write_bytes(changed.read_bytes() + b" ")
    (out / "2.json").unlink()
    assert journal.get(changed) is None
    assert journal.get(robbed) is None

    journal.add(changed, "1", content(masks=9))
    assert (len(journal), journal.masks) == (2, 10), "the later row counts"
    journal.close()


def test_photos_and_results_may_be_moved_together(out: Path, make_photos, tmp_path: Path) -> None:
    (photo,) = make_photos(1)
    journal = PhotoJournal(out / "j", {"settled": {}})
    journal.add(photo, "1", content())
    journal.close()
    target = tmp_path / "elsewhere"
    target.mkdir()
    for name in ("out", "photos"):
        os.rename(tmp_path / name, target / name)

    again = PhotoJournal(target / "out" / "j")
    assert again.get(target / "photos" / "1.png") is not None
    again.close()


@pytest.mark.parametrize("rest", ["", '{"photo"', '{"photo": 1', "[1]\n", "\x00\n"])
def test_a_line_that_was_cut_off_does_not_count(out: Path, make_photos, rest: str) -> None:
    first, second = make_photos(1, 2)
    journal = PhotoJournal(out / "j", {"settled": {}})
    journal.add(first, "1", content())
    journal.close()
    with open(out / "j", "a") as file:
        file.write(rest)

    again = PhotoJournal(out / "j")
    again.add(second, "2", content())
    again.close()
    last = PhotoJournal(out / "j")
    assert len(last) == 2
    last.close()


def test_the_end_of_a_run_counts_while_nothing_follows_and_its_files_are_there(out: Path, make_photos) -> None:
    photo, other = make_photos(1, 2)
    journal = PhotoJournal(out / "j", {"settled": {}})
    journal.add(photo, "1", content())
    assert not journal.is_finished
    (out / "coco.json").write_text("{}")
    (out / "yolo").mkdir()
    journal.finish([out / "coco.json", out / "yolo"])
    journal.close()

    journal = PhotoJournal(out / "j")
    assert journal.is_finished
    (out / "coco.json").write_text("of another run")
    assert not journal.is_finished
    journal.finish([out / "coco.json"])
    assert journal.is_finished
    journal.add(other, "2", content())
    assert not journal.is_finished
    journal.close()


@pytest.mark.parametrize("text", ["", "no journal\n", '{"settled": 1', '{"video": "a.mp4"}\n'])
def test_what_is_no_journal(out: Path, text: str) -> None:
    (out / "j").write_text(text)
    with pytest.raises(ValueError, match="is not the journal"):
        PhotoJournal(out / "j")


def test_a_journal_that_cannot_be_written(out: Path) -> None:
    with pytest.raises(OutputError, match="cannot write"):
        PhotoJournal(out / "missing" / "j", {"settled": {}})


def test_rows_are_dropped_from_a_place_on(tmp_path: Path) -> None:
    lines = JsonLines(tmp_path / "j", {"a": 1})
    places = [lines.append({"n": number}) for number in range(4)]
    lines.truncate(places[2])
    lines.append({"n": 9})
    lines.close()
    seen: list[int] = []
    JsonLines(tmp_path / "j", note=lambda place, row: seen.append(row["n"])).close()
    assert seen == [0, 1, 9]


def test_names_in_data_sets_have_the_folders_that_tell_them_apart(tmp_path: Path) -> None:
    assert names_in_data_sets(tmp_path, ["../in/1.jpg", "../in/2.jpg"]) == ["1.jpg", "2.jpg"]
    assert names_in_data_sets(tmp_path, ["../in/a/1.jpg", "../in/b/c/1.jpg"]) == ["a/1.jpg", "b/c/1.jpg"]
    assert names_in_data_sets(tmp_path, ["../x/1.jpg", "1.jpg"]) == ["x/1.jpg", f"{tmp_path.name}/1.jpg"]
    assert names_in_data_sets(tmp_path, ["../x/1.jpg"]) == ["1.jpg"]
