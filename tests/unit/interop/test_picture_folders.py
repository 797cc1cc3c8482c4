import pytest
from format_samples import save_pictures
from PIL import Image

from sam2.interop.pictures import PictureFolder, picture_size


def test_pictures_are_found_by_name_and_by_what_is_left_of_it(tmp_path) -> None:
    pictures = PictureFolder(save_pictures(tmp_path, "a.jpg", "train/b.PNG", "train/a.png", "train/c.d.jpg"))

    assert pictures.names == ["a.jpg", "train/a.png", "train/b.PNG", "train/c.d.jpg"]
    assert pictures.find("a.jpg") == "a.jpg"
    assert pictures.find("train/a") == "train/a.png"
    assert pictures.find("train\\a.tif") == "train/a.png"
    assert pictures.find("elsewhere/b.jpg") == "train/b.PNG"
    assert pictures.find("c.d") == "train/c.d.jpg"
    assert pictures.find("c") is None


def test_hidden_files_and_other_files_are_no_pictures(tmp_path) -> None:
    (tmp_path / "a.txt").touch()

    assert PictureFolder(save_pictures(tmp_path, ".a.jpg", ".cache/b.jpg")).names == []


def test_sizes_are_those_of_the_upright_picture(tmp_path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    Image.new("RGB", (30, 20)).save(tmp_path / "turned.jpg", exif=exif)
    Image.new("RGB", (30, 20)).save(tmp_path / "plain.jpg")
    pictures = PictureFolder(tmp_path)

    assert (pictures.size("turned"), pictures.size("plain")) == ((30, 20), (20, 30))


def test_what_is_no_picture_is_named(tmp_path) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    save_pictures(tmp_path, "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:20])

    with pytest.raises(ValueError, match=r"text\.jpg is not an image"):
        picture_size(tmp_path / "text.jpg")
    with pytest.raises(ValueError, match=r"cut\.png"):
        picture_size(tmp_path / "cut.png")
    with pytest.raises(FileNotFoundError, match=r"gone\.jpg"):
        picture_size(tmp_path / "gone.jpg")
    with pytest.raises(FileNotFoundError, match="holds no picture gone"):
        PictureFolder(tmp_path).size("gone")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        PictureFolder(tmp_path / "nowhere")
