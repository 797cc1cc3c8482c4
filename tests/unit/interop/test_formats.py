"""The registry, writing several formats at once, and telling formats by their content."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from format_samples import HEIGHT, WIDTH, frames, masked, ring, save_pictures, still, write

from sam2.interop.annotations import AnnotatedImage
from sam2.interop.files import DraftFolder, inner_path, video_path
from sam2.interop.formats import FORMATS, find_format, open_writers, read_annotations
from sam2.interop.ranges import parse_ranges, ranges_text
from sam2.interop.sniff import detect_format

PICTURE = AnnotatedImage("one.jpg", WIDTH, HEIGHT, (masked(ring(), label="car"),))
READ_AS = {"coco-polygons": "coco", "yolo-boxes": "yolo"}
READABLE = [name for name in FORMATS if name not in ("sav",)]


def rename(path: Path) -> Path:
    """A name that says nothing of the format."""
    return path.rename(path.with_name("annotations" + path.suffix))


@pytest.mark.parametrize("name", READABLE)
def test_formats_are_told_by_what_is_in_their_files(tmp_path, name) -> None:
    pictures = save_pictures(tmp_path / "pictures", "one.jpg")
    first, *_ = write(open_writers(name, tmp_path / "out"), PICTURE)
    path = rename(first)

    assert detect_format(path) == READ_AS.get(name, name)
    assert detect_format(path.parent) == READ_AS.get(name, name)
    assert read_annotations(path, images=pictures).labels == ("car",)


def test_sav_is_told_by_what_is_in_its_files(tmp_path) -> None:
    (path,) = write(open_writers("sav", tmp_path), *frames())

    assert detect_format(path) == detect_format(path / "clip_manual.json") == "sav"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", '{"a": 1}'),
        ("a.json", "[]"),
        ("a.json", "7"),
        ("a.json", '[{"image_id": 1}]'),
        ("a.xml", "<svg/>"),
        ("a.txt", "hello world\n"),
        ("a.jpg", "\xff\xd8"),
        ("a", ""),
    ],
)
def test_anything_else_is_refused_with_a_list_of_formats(tmp_path, name, content) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="latin-1")

    with pytest.raises(ValueError, match=rf"{name} is no annotation format that is known here \(coco, yolo"):
        read_annotations(path)
    with pytest.raises(ValueError, match="is no annotation format"):
        read_annotations(tmp_path)


def test_broken_json_is_named(tmp_path) -> None:
    (tmp_path / "a.json").write_text('{"images": [', encoding="utf-8")

    with pytest.raises(ValueError, match=r"a\.json is not JSON"):
        read_annotations(tmp_path)


def test_a_folder_of_several_formats_is_refused(tmp_path) -> None:
    write(open_writers("coco,cvat", tmp_path), PICTURE)

    with pytest.raises(ValueError, match=r"holds several formats \(coco, cvat\): name one file"):
        read_annotations(tmp_path)


def test_a_format_can_be_named(tmp_path) -> None:
    (path,) = write(open_writers("coco", tmp_path), PICTURE)

    assert len(read_annotations(path, "COCO_polygons")) == 1
    with pytest.raises(ValueError, match=r"coco\.json"):
        read_annotations(path, "labelme")


def test_what_is_not_there_is_named(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no\.json: no such file or folder"):
        read_annotations(tmp_path / "no.json")
    (path,) = write(open_writers("coco", tmp_path), PICTURE)
    with pytest.raises(FileNotFoundError, match="no such folder of pictures"):
        read_annotations(path, images=tmp_path / "no")


def test_several_formats_are_written_at_once(tmp_path) -> None:
    written = write(open_writers(" coco, yolo,coco ", tmp_path, labels=["tree"]), PICTURE)

    assert [path.name for path in written] == ["coco.json", "yolo"]
    assert read_annotations(written[0]).labels == ("tree", "car")
    assert (tmp_path / "yolo" / "labels" / "one.txt").read_text(encoding="utf-8").startswith("1 ")


@pytest.mark.parametrize(
    ("names", "message"), [("yaml", "unknown format 'yaml'; there are coco,"), (" , ", "no format")]
)
def test_unknown_formats_are_refused_with_a_list(tmp_path, names, message) -> None:
    with pytest.raises(ValueError, match=message):
        open_writers(names, tmp_path / "out")

    assert not (tmp_path / "out").exists()


def test_one_writer_that_fails_to_close_takes_the_others_with_it(tmp_path) -> None:
    writer = open_writers("davis,coco", tmp_path)
    writer.add(PICTURE)
    (tmp_path / "davis").write_text("in the way", encoding="utf-8")

    with pytest.raises(OSError, match="davis"):
        writer.close()

    assert [path.name for path in tmp_path.iterdir()] == ["davis"]


def test_the_registry_says_what_formats_hold(tmp_path) -> None:
    assert find_format("Label_Studio").name == "label-studio"
    for known in FORMATS.values():
        if not known.images:
            with pytest.raises(ValueError, match="still picture"):
                open_writers(known.name, tmp_path).add(still())


def test_importing_the_registry_imports_no_format() -> None:
    modules = [f"sam2.interop.{known.module}" for known in FORMATS.values()]
    code = f"import sys, sam2.interop.formats; print([name for name in {modules} if name in sys.modules])"

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


class TestFiles:
    @pytest.mark.parametrize(
        ("name", "path"),
        [
            ("a/b.jpg", "a/b.jpg"),
            ("../../a.jpg", "a.jpg"),
            ("/etc/passwd", "etc/passwd"),
            ("C:\\photos\\a?.jpg", "photos/a_.jpg"),
            ("a./b. /./c", "a/b/c"),
            ("ü ö/ß.png", "ü ö/ß.png"),
            ("..", "_"),
            ("", "_"),
            ("a\nb", "a_b"),
        ],
    )
    def test_names_stay_inside(self, name, path) -> None:
        assert inner_path(name).as_posix() == path

    def test_names_of_videos_lose_their_kind(self) -> None:
        assert [video_path(name).as_posix() for name in ("a.MP4", "a/b.mov", "v1.2", "../x.webm")] == [
            "a",
            "a/b",
            "v1.2",
            "x",
        ]

    def test_a_draft_is_not_there_before_it_is_closed(self, tmp_path) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "old.txt").write_text("old", encoding="utf-8")
        draft = DraftFolder(tmp_path / "out")
        draft.write("a/new.txt", "new")
        draft.write("old.txt", "newer")

        assert [path.name for path in (tmp_path / "out").iterdir()] == ["old.txt"]
        assert (tmp_path / "out" / "old.txt").read_text(encoding="utf-8") == "old"
        assert [path.name for path in draft.close()] == ["a", "old.txt"]
        assert draft.close() == []
        assert (tmp_path / "out" / "old.txt").read_text(encoding="utf-8") == "newer"
        assert (tmp_path / "out" / "a" / "new.txt").is_file()
        assert [path.name for path in tmp_path.iterdir()] == ["out"]

    def test_names_that_are_taken_get_numbers(self, tmp_path) -> None:
        draft = DraftFolder(tmp_path / "out")
        for _ in range(3):
            draft.place("a.b.json", unique=True).write_bytes(b"")

        draft.close()

        assert {path.name for path in (tmp_path / "out").iterdir()} == {"a.b.json", "a.b_2.json", "a.b_3.json"}

    def test_ranges(self) -> None:
        assert ranges_text([0, 1, 2, 5, 7, 8]) == "0-2,5,7-8"
        assert parse_ranges("0-2,5,7-8") == [0, 1, 2, 5, 7, 8]
        assert (ranges_text([]), parse_ranges("")) == ("", [])
        for text in ("a", "1-2-3", "-1", "1,", "²", "9" * 12):
            with pytest.raises(ValueError, match="expected numbers as in"):
                parse_ranges(text)


def test_a_million_files_are_not_read_to_tell_the_format(tmp_path) -> None:
    for number in range(9):
        document = {"image": {}, "annotations": []} if number < 8 else {}
        (tmp_path / f"{number}.json").write_text(json.dumps(document), encoding="utf-8")
    (tmp_path / "8.json").write_text("not read", encoding="utf-8")

    assert detect_format(tmp_path) == "sa1b"
