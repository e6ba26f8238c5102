import pytest
from PIL import Image

from components.datasets.prepared import Prepared
from components.errors import DataError
from components.explanation.files import explain_files
from components.explanation.subject import Subject
from components.training.model_files import load_model


@pytest.fixture
def digits(trained_digits):
    return Subject.of(*load_model(trained_digits))


@pytest.fixture
def folder(tmp_path, prepared_digits):
    images = Prepared.open(prepared_digits).split("test").images
    for name in ("a/one.png", "b/one.png"):
        (tmp_path / name).parent.mkdir()
        Image.fromarray(images[0][..., 0]).resize((40, 30)).save(tmp_path / name)
    (tmp_path / "a/torn.png").write_bytes((tmp_path / "a/one.png").read_bytes()[:60])
    return tmp_path


def test_each_image_has_a_picture_of_its_own_and_a_bad_one_says_why(digits, folder):
    one, torn, other = explain_files(digits, [folder / "a", folder / "b"], folder / "out")
    assert (one.picture, other.picture) == (folder / "out/one.png", folder / "out/one-2.png")
    assert one.told == other.told
    assert one.told[0] in digits.spec.classes
    with Image.open(one.picture) as picture:
        assert picture.width > 2 * picture.height
    assert torn.picture is None
    assert "damaged" in torn.error or "truncated" in torn.error


def test_a_folder_without_images_is_one_line(digits, tmp_path):
    with pytest.raises(DataError, match="no image"):
        list(explain_files(digits, [tmp_path], tmp_path / "out"))
