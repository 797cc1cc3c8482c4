import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sam2.cli.errors import OutputError, describe
from sam2.cli.inputs import find_images
from sam2.cli.outputs import json_bytes, output_stems, png_bytes, prepare_folder, write_whole


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("10.png", "2.jpg", "1.JPEG", "notes.txt", "deep/3.png"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "in"


def test_folders_hold_their_images_in_natural_order(folder: Path, tmp_path: Path) -> None:
    found = find_images([str(folder)], output=tmp_path / "out")
    assert [path.name for path in found] == ["1.JPEG", "2.jpg", "10.png"]


def test_patterns_are_expanded_and_nothing_comes_twice(folder: Path, tmp_path: Path) -> None:
    given = [f"{folder}/*.png", f"{folder}/**/*.png", str(folder / "10.png"), str(folder / "../in/2.jpg")]
    found = find_images(given, output=tmp_path / "out")
    assert sorted(path.name for path in found) == ["10.png", "2.jpg", "3.png"]


def test_a_name_with_brackets_is_a_name_first(tmp_path: Path) -> None:
    (tmp_path / "photo[1].jpg").touch()
    assert find_images([str(tmp_path / "photo[1].jpg")], output=tmp_path)[0].name == "photo[1].jpg"


def test_missing_files_are_reported_later(tmp_path: Path) -> None:
    assert find_images([str(tmp_path / "gone.jpg")], output=tmp_path) == [tmp_path / "gone.jpg"]


def test_results_are_not_taken_for_inputs(tmp_path: Path) -> None:
    for name in ("cat.jpg", "cat_overlay.jpg", "cat_object1.png", "cat_object12_rank3.png"):
        (tmp_path / name).touch()
    assert [path.name for path in find_images([str(tmp_path)], output=tmp_path)] == ["cat.jpg"]


def test_folders_and_patterns_without_images(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty holds no images"):
        find_images([str(tmp_path / "empty")], output=tmp_path / "out")
    with pytest.raises(ValueError, match="no file fits the pattern"):
        find_images([f"{folder}/*.tif"], output=tmp_path / "out")


def test_no_two_inputs_share_a_name() -> None:
    paths = [Path(name) for name in ("a/1.jpg", "b/1.jpg", "a/2.jpg", "a/2.png", "a/3.jpg", "a/CAT.jpg", "b/cat.jpg")]
    stems = output_stems(paths)
    assert stems == ["a_1", "b_1", "2_jpg", "2_png", "3", "a_CAT", "b_cat"]
    same = output_stems([Path("x/a/1.jpg"), Path("y/a/1.jpg")])
    assert len(set(same)) == 2
    assert output_stems([Path("photo.tar.jpg")]) == ["photo.tar"]


def test_masks_are_black_and_white(tmp_path: Path) -> None:
    mask = np.zeros((5, 7), bool)
    mask[1:3, 2:5] = True
    write_whole(tmp_path / "m.png", png_bytes(mask))
    with Image.open(tmp_path / "m.png") as image:
        assert image.mode == "L"
        np.testing.assert_array_equal(np.asarray(image), np.where(mask, 255, 0))


def test_json_refuses_what_json_does_not_know() -> None:
    with pytest.raises(ValueError, match="JSON"):
        json_bytes({"predicted_iou": float("nan")})


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "a.json"
    target.write_text("before")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OutputError, match=r"cannot write .*a\.json: No space left on device"):
        write_whole(target, b"after")
    assert target.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_ctrl_c_while_writing_leaves_nothing_half_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_whole(tmp_path / "a.json", b"after")
    assert list(tmp_path.iterdir()) == []


def test_output_folders_are_checked_before_work_begins(tmp_path: Path) -> None:
    prepare_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="is a file"):
        prepare_folder(tmp_path / "file")
    with pytest.raises(OutputError, match="cannot be made: Not a directory"):
        prepare_folder(tmp_path / "file" / "below")


def test_a_read_only_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, data: bytes) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(OutputError, match="cannot be written to: Permission denied"):
        prepare_folder(tmp_path)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("two\n  lines"), "two lines"),
        (OSError(errno.ENOENT, "No such file or directory", "x.png"), "x.png: No such file or directory"),
        (FileNotFoundError("no such image file: x"), "no such image file: x"),
        (ValueError(), "ValueError"),
        (MemoryError("DefaultCPUAllocator"), "out of memory: try --device cpu, --dtype bfloat16 or a smaller --model "),
    ],
)
def test_errors_take_one_line(error: Exception, text: str) -> None:
    assert describe(error).startswith(text)
    assert "\n" not in describe(error)


def test_json_keeps_lists_of_numbers_on_a_line() -> None:
    record = {"bbox": [1, 2, -3.5, 4e-7], "text": "[1,\n 2]", "points": [[1, 2, 1], [3, 4, 0]], "none": []}
    text = json_bytes(record).decode()
    assert json.loads(text) == record
    assert '"bbox": [1, 2, -3.5, 4e-07]' in text
    assert "[1, 2, 1]" in text
