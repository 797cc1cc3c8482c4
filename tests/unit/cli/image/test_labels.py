import pytest

from sam2.cli.labels import Labels, parse_labels


def test_names_for_single_objects_and_for_all_others() -> None:
    labels = parse_labels(["2=traffic light", "thing", " 1 = car "])
    assert [labels.of(number) for number in (1, 2, 3)] == ["car", "traffic light", "thing"]
    assert labels.names == ("car", "traffic light", "thing")


def test_nothing_said_is_no_name() -> None:
    assert parse_labels([]).of(1) is None
    assert parse_labels(["1=car"]).of(2) is None
    assert Labels().names == ()


def test_classes_come_once() -> None:
    assert parse_labels(["1=car", "2=dog", "3=car"]).names == ("car", "dog")


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["1="], "one line of text"),
        ([" "], "one line of text"),
        (["1=a\nb"], "one line of text"),
        (["x=car"], "expected NAME or N=NAME"),
        (["-1=car"], "expected NAME or N=NAME"),
        (["1=car", "1=dog"], "object 1 is named 'car' already"),
        (["car", "dog"], "everything is named 'car' already"),
    ],
)
def test_what_cannot_be_read(texts: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_labels(texts)


def test_names_of_objects_that_are_not_there() -> None:
    labels = parse_labels(["1=car", "7=dog"])
    labels.check([1, 7])
    with pytest.raises(ValueError, match="--label 7=dog: there is no object 7, only 1, 2"):
        labels.check([1, 2])
