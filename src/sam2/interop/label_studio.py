"""Label Studio's JSON of tasks: brush masks of images, tracked boxes of videos; and the label config for both.

Label Studio has no masks of videos. They are kept in ``meta`` of the track (``rle_by_frame``, by the number of the
frame, which counts from 1), where Label Studio leaves them alone and ``read_label_studio`` finds them, as long as
nobody has moved the box.
"""

import json
import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from sam2.interop.annotations import AnnotatedImage, Box, ObjectAnnotation, VideoInfo
from sam2.interop.brush_rle import encode_brush
from sam2.interop.files import Draft, DraftFolder, json_text, legal_xml
from sam2.interop.label_studio_reader import LOCAL_FILES, read_label_studio
from sam2.interop.ranges import ranges_text

__all__ = ["LabelStudioWriter", "read_label_studio"]

MODEL_VERSION = "sam2"
DEFAULT_FPS = 24.0
"""What Label Studio takes for videos whose rate is not known."""

_COLOURS = ("#d43f3a", "#1f77b4", "#2ca02c", "#ff7f0e", "#9467bd", "#17becf", "#e377c2", "#8c564b")


class LabelStudioWriter:
    """Writes ``label_studio.json`` and ``label_studio_config.xml``, which is pasted as a project's labeling interface.

    Still pictures and videos are two projects in Label Studio: where both come, videos go to
    ``label_studio_videos.json``. Pictures with scores become predictions, others annotations.

    Args:
        output: the folder to write to.
        labels: names of classes.
        prefix: what stands before names of pictures and videos to make their addresses. The default is for local files
            that Label Studio serves (``LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED``), below its document root.
    """

    def __init__(self, output: Path, *, labels: Sequence[str] = (), prefix: str = LOCAL_FILES) -> None:
        self._labels = dict.fromkeys(labels)
        self._prefix = prefix
        self._folder = DraftFolder(output, name="label_studio")
        self._images: _Tasks | None = None
        self._videos: _Tasks | None = None
        self._video: _Tracks | None = None

    def add(self, image: AnnotatedImage) -> None:
        """Write one picture or frame; objects whose masks are empty are left out."""
        self._labels |= dict.fromkeys(item.label for item in image.objects)
        if image.video is None:
            self._images = self._images or _Tasks(self._folder.place("images.json"))
            self._images.add([json_text(_image_task(image, self._address(image.name)))])
            return
        if self._video is None or self._video.info.name != image.video.name:
            self._end_video()
            self._video = _Tracks(image.video, self._folder)
        self._video.add(image)

    def close(self) -> list[Path]:
        """Finish; the files."""
        self._end_video()
        labels = list(self._labels)
        tasks = {"images": self._images, "videos": self._videos}
        if self._images is None and self._videos is None:
            tasks["images"] = _Tasks(self._folder.place("images.json"))  # an empty list says that there was nothing
        name = "label_studio"
        for kind, written in tasks.items():
            if written is not None:
                written.close()
                os.replace(self._folder.place(f"{kind}.json"), self._folder.place(f"{name}.json"))
                config = _image_config(labels) if kind == "images" else _video_config(labels)
                self._folder.write(f"{name}_config.xml", config)
                name = "label_studio_videos"
        return self._folder.close()

    def discard(self) -> None:
        """Leave nothing; does nothing after ``close``."""
        for tasks in (self._images, self._videos):
            if tasks is not None:
                tasks.draft.discard()
        if self._video is not None:
            self._video.file.close()
        self._folder.discard()

    def _end_video(self) -> None:
        if self._video is not None:
            self._videos = self._videos or _Tasks(self._folder.place("videos.json"))
            self._videos.add(self._video.task(self._address(self._video.info.name)))
            self._video = None

    def _address(self, name: str) -> str:
        return self._prefix + quote(name)


class _Tasks:
    """A list of tasks that grows in a file."""

    def __init__(self, path: Path) -> None:
        self.draft = Draft(path)
        self._start = "["

    def add(self, texts: Iterable[str]) -> None:
        """Write a task that comes in pieces."""
        self.draft.write(self._start + "\n")
        for text in texts:
            self.draft.write(text)
        self._start = ","

    def close(self) -> None:
        self.draft.write(("[" if self._start == "[" else "\n") + "]\n")
        self.draft.close()


def _image_task(image: AnnotatedImage, address: str) -> dict[str, Any]:
    results = [
        _result(number, item, image) for number, item in enumerate(image.objects) if item.rle is None or item.area
    ]
    data = {"image": address, "name": image.name, "width": image.width, "height": image.height}
    scores = [item.score for item in image.objects if item.score is not None]
    made: dict[str, Any] = {"result": results}
    if scores:
        made |= {"model_version": MODEL_VERSION, "score": sum(scores) / len(scores)}
    return {"data": data, "predictions" if scores else "annotations": [made]}


def _result(number: int, item: ObjectAnnotation, image: AnnotatedImage) -> dict[str, Any]:
    kind, name = ("brushlabels", "brush") if item.rle is not None else ("rectanglelabels", "box")
    if item.rle is not None:
        value: dict[str, Any] = {"format": "rle", "rle": encode_brush(item.mask())}
    else:
        value = {**_percent(item.box, image.size), "rotation": 0}
    known = {"score": item.score, "meta": {"attributes": dict(item.attributes)} if item.attributes else None}
    return {
        "id": f"object_{number}",
        "type": kind,
        "from_name": name,
        "to_name": "image",
        "original_width": image.width,
        "original_height": image.height,
        "image_rotation": 0,
        "value": {**value, kind: [item.label]},
        **{name: value for name, value in known.items() if value is not None},
    }


def _percent(box: Box, size: tuple[int, int]) -> dict[str, float]:
    (x0, y0, x1, y1), (height, width) = box, size
    sides = {"x": x0 / width, "y": y0 / height, "width": (x1 - x0) / width, "height": (y1 - y0) / height}
    return {name: round(100 * share, 6) for name, share in sides.items()}


class _Tracks:
    """One video on its way: its objects as they come, and for each track where its own stand in the file."""

    def __init__(self, info: VideoInfo, folder: DraftFolder) -> None:
        self.info = info
        self.file = folder.scratch()
        self._fps = info.fps or DEFAULT_FPS
        self._frames = array("q")
        self._tracks: dict[int, tuple[str, array[int], array[int]]] = {}
        self._scores = 0

    def add(self, image: AnnotatedImage) -> None:
        assert image.frame is not None
        index = len(self._frames)
        self._frames.append(image.frame)
        for number, item in enumerate(image.objects):
            if item.rle is not None and not item.area:
                continue
            # what has no number is a track of its own in each frame
            track = item.track_id if item.track_id is not None else -1 - index * 100_000 - number
            self._scores += item.score is not None
            _, places, indices = self._tracks.setdefault(track, (item.label, array("q"), array("q")))
            places.append(self.file.tell())
            indices.append(index)
            record = (image.frame + 1, _percent(item.box, image.size), item.rle, item.score)
            self.file.write((json_text(record) + "\n").encode())

    def task(self, address: str) -> Iterator[str]:
        """The task of the video as pieces of JSON."""
        info = self.info
        data = {"video": address, "name": info.name, "width": info.width, "height": info.height}
        data |= {
            "fps": self._fps,
            "num_frames": info.num_frames,
            "frames": ranges_text(frame + 1 for frame in self._frames),
        }
        made, head = ("predictions", {"model_version": MODEL_VERSION}) if self._scores else ("annotations", {})
        yield json_text({"data": data})[:-1] + f',"{made}":[{json_text({**head, "result": []})[:-2]}'
        with self.file:
            for number, track in enumerate(self._tracks):
                yield "," if number else ""
                yield from self._result(number, track)
        yield "]}]}"

    def _result(self, number: int, track: int) -> Iterator[str]:
        label, places, indices = self._tracks[track]
        names = {"id": f"track_{number}", "type": "videorectangle", "from_name": "box", "to_name": "video"}
        count = self.info.num_frames or self._frames[-1] + 1
        value = {"framesCount": count, "duration": count / self._fps, "labels": [label], "sequence": []}
        yield json_text({**names, "value": value})[:-3]
        following = (*indices[1:], None)
        for entry, (frame, sides, _, _) in enumerate(self._records(places)):
            # the last frame before the object is gone ends it
            state = {"frame": frame, "enabled": following[entry] == indices[entry] + 1, "rotation": 0}
            yield ("," if entry else "") + json_text({**state, "time": frame / self._fps, **sides})
        meta: dict[str, Any] = {"track_id": track} if track >= 0 else {}
        yield f']}},"meta":{json_text({**meta, "rle_by_frame": {}})[:-2]}'
        yield from self._by_frame(places, 2)
        yield '},"score_by_frame":{'
        yield from self._by_frame(places, 3)
        yield "}}}"

    def _by_frame(self, places: "array[int]", column: int) -> Iterator[str]:
        separator = ""
        for record in self._records(places):
            if record[column] is not None:
                yield f'{separator}"{record[0]}":{json_text(record[column])}'
                separator = ","

    def _records(self, places: "array[int]") -> Iterator[Any]:
        for place in places:
            self.file.seek(place)
            yield json.loads(self.file.readline())


def _image_config(labels: Sequence[str]) -> str:
    lines = ['<View>\n  <Image name="image" value="$image" zoom="true"/>']
    for kind, name in (("BrushLabels", "brush"), ("RectangleLabels", "box")):
        lines += [f'  <{kind} name="{name}" toName="image">', *_label_lines(labels), f"  </{kind}>"]
    return "\n".join([*lines, "</View>\n"])


def _video_config(labels: Sequence[str]) -> str:
    lines = [
        "<View>",
        '  <Labels name="labels" toName="video" allowEmpty="true">',
        *_label_lines(labels),
        "  </Labels>",
    ]
    lines += [
        '  <Video name="video" value="$video" framerate="$fps"/>',
        '  <VideoRectangle name="box" toName="video"/>',
    ]
    return "\n".join([*lines, "</View>\n"])


def _label_lines(labels: Sequence[str]) -> list[str]:
    colours = (_COLOURS[number % len(_COLOURS)] for number in range(len(labels)))
    return [
        f'    <Label value={quoteattr(legal_xml(label))} background="{colour}"/>'
        for label, colour in zip(labels, colours, strict=True)
    ]
