"""Against CVAT's published description of its XML (version 1.1), and what its importer takes from it."""

import warnings
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from format_samples import HEIGHT, WIDTH, blob, frames, iou, masked, ring, save_pictures, still, write

from sam2.interop.annotations import AnnotatedImage, ObjectAnnotation, VideoInfo
from sam2.interop.cvat import CvatWriter, read_cvat

VIDEO = VideoInfo("clip.mp4", WIDTH, HEIGHT, 20, 25.0)

IMAGES = f"""<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta>
    <task>
      <id>4</id><name>segmentation</name><size>27</size><mode>annotation</mode><overlap>0</overlap>
      <labels>
        <label><name>car</name><color>#c06060</color><type>any</type><attributes>
          <attribute><name>colour</name><mutable>False</mutable><input_type>select</input_type></attribute>
        </attributes></label>
        <label><name>traffic_line</name><attributes></attributes></label>
      </labels>
      <segments><segment><id>4</id><start>0</start><stop>26</stop><url>http://localhost:8080/?id=4</url></segment></segments>
      <owner><username>admin</username><email></email></owner>
    </task>
    <dumped>2018-09-25 11:38:28.799808+03:00</dumped>
  </meta>
  <image id="0" name="in/a.jpg" width="{WIDTH}" height="{HEIGHT}">
    <box label="car" source="manual" occluded="0" xtl="10.50" ytl="20.00" xbr="40.25" ybr="31.00" z_order="4">
      <attribute name="colour">red</attribute>
    </box>
    <polygon label="car" source="manual" occluded="1" points="10.00,10.00;20.00,10.00;20.00,30.00;10.00,30.00">
    </polygon>
    <mask label="car" source="semi-auto" occluded="0" rle="1, 2, 3, 1, 2" left="5" top="7" width="3" height="3">
    </mask>
    <ellipse label="car" occluded="0" cx="60.00" cy="45.00" rx="20.00" ry="10.00" z_order="0"></ellipse>
    <box label="car" xtl="50" ytl="40" xbr="70" ybr="50" rotation="90.00" occluded="0" z_order="0"></box>
    <polyline label="traffic_line" points="62.10,0.00;26.80,80.00" occluded="0" z_order="3"></polyline>
    <points label="car" points="74.90,39.48;70.16,7.90" occluded="0" z_order="5"></points>
    <tag label="car" source="manual"></tag>
  </image>
  <image id="1" name="b.jpg" width="30" height="40"></image>
</annotations>
"""

TRACKS = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta>
    <task>
      <id>5</id><name>interpolation</name><size>20</size><mode>interpolation</mode><overlap>5</overlap>
      <labels><label><name>person</name><attributes></attributes></label></labels>
      <original_size><width>120</width><height>90</height></original_size>
      <source>clip.mp4</source>
    </task>
  </meta>
  <track id="3" label="person" source="manual">
    <polygon frame="0" keyframe="1" outside="0" occluded="0" points="10,10;20,10;20,30;10,30" z_order="0"></polygon>
    <polygon frame="1" keyframe="0" outside="0" occluded="0" points="11,10;21,10;21,30;11,30" z_order="0"></polygon>
    <polygon frame="2" keyframe="1" outside="1" occluded="0" points="11,10;21,10;21,30;11,30" z_order="0"></polygon>
    <polygon frame="6" keyframe="1" outside="0" occluded="0" points="12,10;22,10;22,30;12,30" z_order="0"></polygon>
    <polygon frame="7" keyframe="1" outside="1" occluded="0" points="12,10;22,10;22,30;12,30" z_order="0"></polygon>
  </track>
  <track id="8" label="person" source="manual">
    <mask frame="6" keyframe="1" outside="0" occluded="0" rle="0, 4" left="1" top="2" width="2" height="2"></mask>
    <mask frame="7" keyframe="1" outside="1" occluded="0" rle="0, 4" left="1" top="2" width="2" height="2"></mask>
  </track>
</annotations>
"""


def save(path, text: str):
    path.write_text(text, encoding="utf-8")
    return path


def rectangle(x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y0:y1, x0:x1] = True
    return mask


def frame(number: int, *objects: ObjectAnnotation, video: VideoInfo = VIDEO) -> AnnotatedImage:
    return AnnotatedImage(f"clip/{number:05d}.jpg", WIDTH, HEIGHT, objects, video, number)


class TestReading:
    def test_images_of_cvat(self, tmp_path) -> None:
        with pytest.warns(UserWarning, match=r"left out what has no area: 1 points, 1 polyline, 1 tag"):
            found = read_cvat(save(tmp_path / "annotations.xml", IMAGES))

        first, second = found
        box, polygon, mask, ellipse, turned = first.objects
        assert (first.name, first.size, second.name, second.size) == ("in/a.jpg", (HEIGHT, WIDTH), "b.jpg", (40, 30))
        assert found.labels == ("car", "traffic_line")
        assert (box.rle, box.box, box.attributes) == (None, (10.5, 20.0, 40.25, 31.0), {"colour": "red"})
        assert np.array_equal(polygon.mask(), rectangle(10, 10, 20, 30))
        # rows of 3: .XX / ... / X.. from (5, 7) on
        assert np.argwhere(mask.mask()).tolist() == [[7, 6], [7, 7], [9, 5]]
        y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
        assert iou(ellipse.mask(), ((x - 60) / 20) ** 2 + ((y - 45) / 10) ** 2 < 1) > 0.98
        assert turned.box == pytest.approx((55, 35, 65, 55))
        assert second.objects == ()

    def test_tracks_of_cvat(self, tmp_path) -> None:
        found = read_cvat(save(tmp_path / "annotations.xml", TRACKS))

        assert [image.frame for image in found] == [0, 1, 2, 6]  # 7 is the end of all
        assert [[item.track_id for item in image.objects] for image in found] == [[3], [3], [], [3, 8]]
        assert np.array_equal(found.images[1].objects[0].mask(), rectangle(11, 10, 21, 30))
        assert np.array_equal(found.images[3].objects[1].mask(), rectangle(1, 2, 3, 4))
        (video,) = found.videos
        assert (video.name, video.width, video.height, video.num_frames) == ("clip.mp4", WIDTH, HEIGHT, 20)

    def test_a_video_without_its_size_needs_the_pictures(self, tmp_path) -> None:
        size = "<original_size><width>120</width><height>90</height></original_size>"
        path = save(tmp_path / "a.xml", TRACKS.replace(size, ""))

        with pytest.raises(ValueError, match=r"a\.xml: .*original_size"):
            read_cvat(path)
        found = read_cvat(path, images=save_pictures(tmp_path / "frames", "00000.jpg"))

        assert found.images[0].size == (HEIGHT, WIDTH)

    def test_runs_may_leave_out_the_last_background(self, tmp_path) -> None:
        (image, _) = read_cvat_quietly(save(tmp_path / "a.xml", IMAGES.replace("1, 2, 3, 1, 2", "1,2,3,1")))

        assert np.argwhere(image.objects[2].mask()).tolist() == [[7, 6], [7, 7], [9, 5]]

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ('left="5"', "", "image 0: mask: 'left' is missing"),
            ('left="5"', 'left="118"', "image 0: mask: .* does not fit"),
            ('width="3"', 'width="0"', "image 0: mask: width and height must be at least 1"),
            ("1, 2, 3, 1, 2", "1, 2, 3, 1, 9", "image 0: mask: .*sum to 16"),
            ("1, 2, 3, 1, 2", "1, x", "image 0: mask: rle must be whole numbers"),
            ('xtl="10.50"', 'xtl="ten"', "image 0: box: 'xtl' must be a number, got 'ten'"),
            ("10.00,10.00;", "10.00;", "image 0: polygon: points must be"),
            ('label="car" source="manual" occluded="0"', 'source="manual"', "image 0: 'label' is missing"),
            ('name="b.jpg"', "", "image 1: 'name' is missing"),
            ('width="30"', 'width="wide"', "image 1: 'width' must be a number"),
            ("</annotations>", "", "it is not XML"),
            ("<annotations>", "<svg>", "it is not a file of CVAT: it begins with <svg>"),
        ],
    )
    def test_what_is_wrong_is_named(self, tmp_path, old, new, message) -> None:
        path = save(tmp_path / "a.xml", IMAGES.replace(old, new, 1))

        with pytest.raises(ValueError, match=rf"a\.xml: {message}"):
            read_cvat_quietly(path)

    @pytest.mark.parametrize("declared", ['<!DOCTYPE a [<!ENTITY b "c">]>', '<!DOCTYPE a SYSTEM "file:///etc/passwd">'])
    @pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
    def test_document_types_are_refused(self, tmp_path, declared, encoding) -> None:
        head, body = IMAGES.split("\n", 1)
        text = "\n".join([head.replace("utf-8", encoding), declared, body])
        (tmp_path / "a.xml").write_bytes(text.encode(encoding))

        with pytest.raises(ValueError, match=r"a\.xml: it declares a document type"):
            read_cvat(tmp_path / "a.xml")

    def test_a_folder_without_xml(self, tmp_path) -> None:
        with pytest.raises(ValueError, match="holds no XML file"):
            read_cvat(tmp_path)


def read_cvat_quietly(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return read_cvat(path)


class TestImages:
    def test_elements_and_attributes_are_those_of_the_description(self, tmp_path) -> None:
        (path,) = write(CvatWriter(tmp_path, labels=["tree"]), still())
        root = ElementTree.parse(path).getroot()

        assert path.name == "cvat.xml"
        assert (root.tag, [child.tag for child in root]) == ("annotations", ["version", "meta", "image"])
        assert root.findtext("version") == "1.1"
        task = root.find("meta/task")
        assert {child.tag: child.text for child in task if child.tag != "labels"} == {
            "name": "sam2",
            "size": "1",
            "mode": "annotation",
            "start_frame": "0",
            "stop_frame": "0",
            "overlap": "0",
        }
        labels = [(label.findtext("name"), label.findtext("type")) for label in task.iter("label")]
        assert labels == [("tree", "any"), ("car", "any"), ("sign, or not", "any")]
        image = root.find("image")
        assert image.attrib == {"id": "0", "name": "street/one.jpg", "width": str(WIDTH), "height": str(HEIGHT)}
        shape = {"label", "source", "occluded", "z_order"}
        assert [(child.tag, set(child.keys()) - shape) for child in image] == [
            *[("mask", {"rle", "left", "top", "width", "height"})] * 3,
            ("box", {"xtl", "ytl", "xbr", "ybr"}),
        ]
        assert all(shape < set(child.keys()) for child in image)
        assert [child.get("source") for child in image] == ["auto", "manual", "manual", "auto"]

    def test_masks_are_runs_of_rows_within_the_box_background_first(self, tmp_path) -> None:
        mask = np.zeros((HEIGHT, WIDTH), bool)
        mask[7, 6:8] = mask[9, 5] = True
        full = rectangle(0, 0, WIDTH, HEIGHT)
        image = AnnotatedImage("a.jpg", WIDTH, HEIGHT, (masked(mask), masked(full)))
        (path,) = write(CvatWriter(tmp_path), image)

        some, everything = ElementTree.parse(path).getroot().iter("mask")

        box = ("left", "top", "width", "height")
        assert (some.get("rle"), [some.get(name) for name in box]) == ("1, 2, 3, 1, 2", ["5", "7", "3", "3"])
        assert everything.get("rle") == f"0, {WIDTH * HEIGHT}"

    def test_names_that_xml_cannot_hold(self, tmp_path) -> None:
        item = masked(ring(), label='a<b> & "c"\x01')
        (path,) = write(CvatWriter(tmp_path), AnnotatedImage("\x02'ü&.jpg", WIDTH, HEIGHT, (item,)))

        (image,) = read_cvat(path)

        assert (image.name, image.objects[0].label) == ("\ufffd'ü&.jpg", 'a<b> & "c"\ufffd')

    def test_no_pictures_at_all(self, tmp_path) -> None:
        (path,) = CvatWriter(tmp_path, labels=["a"]).close()

        found = read_cvat(path)

        assert (len(found), found.labels) == (0, ("a",))


class TestTracks:
    def test_elements_and_attributes_are_those_of_the_description(self, tmp_path) -> None:
        (path,) = write(CvatWriter(tmp_path), *frames())
        root = ElementTree.parse(path).getroot()

        assert path.name == "cvat_clip.xml"
        task = root.find("meta/task")
        assert [task.findtext(name) for name in ("name", "size", "mode", "start_frame", "stop_frame")] == [
            "clip.mp4",
            "250",
            "interpolation",
            "0",
            "249",
        ]
        size = task.find("original_size")
        assert (size.findtext("width"), size.findtext("height")) == (str(WIDTH), str(HEIGHT))
        tracks = root.findall("track")
        assert [track.attrib for track in tracks] == [
            {"id": "7", "label": "dog", "source": "manual"},
            {"id": "2", "label": "car", "source": "auto"},
        ]
        keys = {"frame", "keyframe", "outside", "occluded", "points", "z_order"}
        assert all(shape.tag == "polygon" and set(shape.keys()) == keys for track in tracks for shape in track)
        assert all(shape.get("keyframe") == "1" for track in tracks for shape in track)

    def test_a_track_is_outside_from_the_first_annotated_frame_without_it(self, tmp_path) -> None:
        item = masked(ring(), track_id=1)
        images = [frame(0, item), frame(4, item), frame(8), frame(12, item), frame(16, item)]
        (path,) = write(CvatWriter(tmp_path), *images)

        (track,) = ElementTree.parse(path).getroot().iter("track")

        states = [(int(shape.get("frame")), shape.get("outside")) for shape in track]
        assert states == [(0, "0"), (4, "0"), (8, "1"), (12, "0"), (16, "0"), (17, "1")]
        assert [image.frame for image in read_cvat(path)] == [0, 4, 8, 12, 16]

    def test_a_track_up_to_the_last_frame_has_no_end(self, tmp_path) -> None:
        short = VideoInfo("clip.mp4", WIDTH, HEIGHT, 2)
        item = masked(ring(), track_id=1)
        (path,) = write(CvatWriter(tmp_path), frame(0, item, video=short), frame(1, item, video=short))

        (track,) = ElementTree.parse(path).getroot().iter("track")

        assert [shape.get("outside") for shape in track] == ["0", "0"]

    def test_each_shape_of_a_track_is_one_polygon_that_any_rasteriser_fills_alike(self, tmp_path) -> None:
        # by pixel centres, holes and parts joined by bridges: checked with a rasteriser of somebody else
        mask = blob(3)
        (path,) = write(CvatWriter(tmp_path), frame(0, masked(mask, track_id=1)))
        shape = next(ElementTree.parse(path).getroot().iter("polygon"))
        points = np.array([[float(value) for value in pair.split(",")] for pair in shape.get("points").split(";")])

        large = np.zeros((HEIGHT * 8, WIDTH * 8), np.uint8)
        cv2.fillPoly(large, [np.round(points * 8).astype(np.int32)], (1,))

        assert iou(large[4::8, 4::8] > 0, mask) > 0.995

    def test_tolerance_leaves_fewer_vertices(self, tmp_path) -> None:
        sizes = []
        for tolerance in (0.0, 0.75):
            folder = tmp_path / str(tolerance)
            (path,) = write(CvatWriter(folder, tolerance=tolerance), frame(0, masked(ring(), track_id=1)))
            sizes.append(path.stat().st_size)
            assert iou(read_cvat(path).images[0].objects[0].mask(), ring()) > 0.95

        assert sizes[1] < sizes[0] * 0.6

    def test_boxes_and_objects_without_a_number(self, tmp_path) -> None:
        box = ObjectAnnotation((10.5, 20.0, 40.25, 31.0), track_id=1)
        images = [frame(0, box, masked(ring())), frame(1, box, masked(ring())), frame(2, masked(ring(), track_id=1))]
        (path,) = write(CvatWriter(tmp_path), *images)

        found = read_cvat(path)

        assert found.images[0].objects[0].box == box.box
        assert [[item.track_id for item in image.objects] for image in found] == [[1, 2], [1, 3], [1]]
        assert np.array_equal(found.images[2].objects[0].mask(), ring())

    def test_stills_and_videos_are_files_of_their_own(self, tmp_path) -> None:
        (stills, video) = write(CvatWriter(tmp_path), still(), *frames("a/b.mp4"), still("two.jpg"))

        assert [stills.name, video.name] == ["cvat.xml", "cvat_a_b.xml"]
        assert [image.name for image in read_cvat(stills)] == ["street/one.jpg", "two.jpg"]
        assert len(read_cvat(tmp_path)) == 5
