"""Labelled records of any data set as pictures to click on."""

import pickle
from dataclasses import dataclass, field

import numpy as np
import pytest

from sam2.eval.records import record_pictures

SIZE = (20, 30)


@dataclass(frozen=True)
class Striped:
    """A record whose object number k is column k."""

    name: str
    frames: tuple[tuple[int, ...] | None, ...]
    read: list = field(default_factory=list, compare=False)

    @property
    def num_frames(self):
        return len(self.frames)

    @property
    def labelled(self):
        return tuple(index for index, objects in enumerate(self.frames) if objects is not None)

    def image(self, index):
        self.read.append(index)
        return np.full((*SIZE, 3), index, np.uint8)

    def masks(self, index):
        masks = {}
        for number in self.frames[index] or ():
            masks[number] = np.zeros(SIZE, bool)
            masks[number][:, number] = number > 0  # object 0 is empty
        return masks


def test_a_still_is_one_picture_and_its_objects_share_an_image():
    (picture,) = record_pictures([Striped("a.jpg", ((1, 4, 0),))])
    assert picture.name == "a.jpg"
    examples = list(picture.examples())
    assert [item.name for item in examples] == ["a.jpg/1", "a.jpg/4"]
    assert examples[0].image is examples[1].image
    assert [np.flatnonzero(item.mask.any(0)).tolist() for item in examples] == [[1], [4]]


def test_of_videos_every_so_many_labelled_frames():
    video = Striped("v", ((1,), None, (1,), (2,), None, (1, 2)))
    assert [picture.name for picture in record_pictures([video], frame_step=2)] == ["v#0", "v#3"]
    pictures = record_pictures([video])
    assert [picture.name for picture in pictures] == ["v#0", "v#2", "v#3", "v#5"]
    (example,) = pictures[2].examples()
    assert (example.name, example.image[0, 0, 0]) == ("v#3/2", 3)


def test_a_limit_is_spread_over_all():
    records = [Striped(str(number), ((1,),)) for number in range(9)]
    assert [picture.name for picture in record_pictures(records, limit=3)] == ["0", "4", "8"]
    assert len(record_pictures(records, limit=99)) == 9


def test_pictures_without_objects_are_not_even_read():
    record = Striped("a", ((),))
    (picture,) = record_pictures([record])
    assert list(picture.examples()) == []
    assert record.read == []


def test_pictures_can_be_sent_to_processes():
    (picture,) = record_pictures([Striped("a", ((1,),))])
    assert pickle.loads(pickle.dumps(picture)) == picture


def test_what_cannot_be_chosen_from():
    with pytest.raises(ValueError, match="no record has a labelled frame"):
        record_pictures([Striped("a", (None,))])
    for choice in ({"frame_step": 0}, {"limit": 0}):
        with pytest.raises(ValueError, match="must be at least 1"):
            record_pictures([Striped("a", ((1,),))], **choice)
