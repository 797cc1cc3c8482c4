"""The journal: whole after a crash, readable in the order of frames, small in memory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import sam2
from sam2.cli.errors import OutputError
from sam2.cli.video.journal import Journal, write_results

HEADER = {"video": "a.mp4", "prompts": [{"object": 1}]}


def row(obj_id: int) -> dict[str, int]:
    return {"id": obj_id}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal that went forward over 2, 3 and back over 2, 1."""
    path = tmp_path / "frames.jsonl"
    journal = Journal(path, HEADER)
    for frame, obj_id in ((2, 2), (3, 2), (2, 1), (1, 1)):
        journal.append(frame, [row(obj_id)])
    journal.close()
    return path


def test_frames_come_in_order_with_all_their_objects(path: Path) -> None:
    journal = Journal(path)
    assert journal.header == HEADER
    assert len(journal) == 4
    assert journal.num_frames() == 3
    assert list(journal.merged()) == [
        {"frame": 1, "objects": [row(1)]},
        {"frame": 2, "objects": [row(1), row(2)]},
        {"frame": 3, "objects": [row(2)]},
    ]
    journal.close()


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_line_that_a_crash_cut_off_does_not_count(path: Path, cut: int) -> None:
    path.write_bytes(path.read_bytes()[:-cut])
    journal = Journal(path)
    assert len(journal) == 3
    journal.append(7, [row(5)])
    assert [found["frame"] for found in journal.merged()] == [2, 3, 7]
    journal.close()
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_truncated_journals_go_on_where_they_end(path: Path) -> None:
    journal = Journal(path)
    journal.truncate(9)
    assert len(journal) == 4
    journal.truncate(1)
    journal.append(8, [])
    journal.close()
    again = Journal(path)
    assert [found["frame"] for found in again.merged()] == [2, 8]
    again.truncate(0)
    assert list(again.merged()) == []
    again.close()


@pytest.mark.parametrize("content", ["", "no journal\n", '{"frame": 1, "objects": []}\n', "[1]\n"])
def test_other_files_are_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(content)
    with pytest.raises(ValueError, match="is not the journal of a run"):
        Journal(path)
    assert path.read_text() == content


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot write"):
        Journal(tmp_path / "missing" / "a.jsonl", HEADER)


def test_the_results_are_json(path: Path, tmp_path: Path) -> None:
    journal = Journal(path)
    write_results(tmp_path / "a.json", {**HEADER, "complete": False}, journal)
    journal.close()
    record = json.loads((tmp_path / "a.json").read_text())
    assert list(record) == ["video", "prompts", "complete", "frames"]
    assert [frame["frame"] for frame in record["frames"]] == [1, 2, 3]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.json", "frames.jsonl"]


@pytest.mark.skipif(sys.platform == "win32", reason="limits of file sizes are POSIX")
def test_a_full_disk_leaves_whole_rows(tmp_path: Path) -> None:
    code = """
import resource, sys
from pathlib import Path
from sam2.cli.video.journal import Journal
journal = Journal(Path(sys.argv[1]), {"video": "a.mp4"})
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
try:
    for frame in range(100):
        journal.append(frame, [{"id": frame}])
except OSError as error:
    print(type(error).__name__, len(journal))
journal.close()
"""
    path = tmp_path / "a.jsonl"
    environment = {**os.environ, "PYTHONPATH": str(Path(sam2.__file__).resolve().parent.parent)}
    result = subprocess.run(
        [sys.executable, "-c", code, path], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    name, rows = result.stdout.split()
    assert name == "OutputError"
    assert path.stat().st_size == 2000
    journal = Journal(path)
    assert len(journal) == int(rows) > 10
    journal.close()
