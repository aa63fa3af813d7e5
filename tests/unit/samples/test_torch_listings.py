"""The listings of TAO's PyTorch loaders."""

from __future__ import annotations

from pathlib import Path

import pytest

from int8cal.errors import DataError, MissingDataError
from int8cal.samples import torch_listings as listings


def write(root: Path, *names: str) -> str:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return str(root)


def names(listing: listings.Listing) -> list[str]:
    return [sample.frame_id for sample in listing.source.samples]


def test_detection_folders_go_suffix_by_suffix(tmp_path: Path) -> None:
    folder = write(tmp_path, "b.png", "a.PNG", "z.jpg", "c.JPG", "d.jpeg", "e.bmp", "f.Png", "g.webp", "sub/h.jpg")
    listing = listings.detection_folder(0, folder)
    assert names(listing) == ["z.jpg", "d.jpeg", "b.png", "e.bmp", "c.JPG", "a.PNG"]
    assert listing.others == 3
    with pytest.raises(DataError, match="frames"):
        listings.detection_folder(0, write(tmp_path, "x.h5"))


def test_class_images_go_suffix_by_suffix_then_class_by_class(tmp_path: Path) -> None:
    folder = write(
        tmp_path / "a", "x/2.jpg", "x/1.jpg", "x/3.png", "y/4.jpg", "y/.5.jpg", "y/6.jpeg", "y/d/7.jpg", "loose.jpg"
    )
    more = write(tmp_path / "m", "q/8.jpg", "9.png", ".h/10.jpg")
    assert names(listings.class_images(0, folder, ["y", "none", "x", "loose.jpg"], None)) == [
        "y/4.jpg",
        "x/1.jpg",
        "x/2.jpg",
        "x/3.png",
    ]
    assert names(listings.class_images(0, folder, ["x"], more)) == ["x/1.jpg", "x/2.jpg", "q/8.jpg", "x/3.png", "9.png"]
    assert names(listings.images_below(0, more)) == ["q/8.jpg", "9.png"]
    with pytest.raises(MissingDataError):
        listings.class_images(0, f"{folder}/none", [], None)


def test_links_to_folders_are_entered_where_the_loaders_enter_them(tmp_path: Path) -> None:
    """By torchvision's walk and by glob; the walk over words enters none."""
    folder = write(tmp_path / "root", "a/1.png", "a/d/2.png")
    write(tmp_path / "extra", "3.png", "e/4.png")
    (tmp_path / "root" / "a" / "more").symlink_to("../../extra")
    found = ["1.png", "d/2.png", "more/3.png", "more/e/4.png"]
    assert names(listings.torchvision_classes(0, folder)) == [f"a/{name}" for name in found]
    assert names(listings.images_below(0, f"{folder}/a")) == found
    assert names(listings.words_below(0, f"{folder}/a")) == found[:2]


@pytest.mark.parametrize("target", [".", "..", "../..", "../../extra"])
def test_links_that_lead_in_a_circle_are_told(tmp_path: Path, target: str) -> None:
    folder = write(tmp_path / "root", "a/1.png")
    write(tmp_path / "extra", "2.png")
    (tmp_path / "extra" / "back").symlink_to("../root")
    (tmp_path / "root" / "a" / "more").symlink_to(target)
    with pytest.raises(DataError, match="leads to a folder that it lies in"):
        listings.torchvision_classes(0, folder)


def test_class_names(tmp_path: Path) -> None:
    folder = write(tmp_path / "images", "b/1.jpg", "a/2.jpg", "file")
    classes, note = listings.class_names(str(tmp_path), folder)
    assert classes == ["a", "b", "file"]
    assert note is not None
    assert not (tmp_path / "classes.txt").exists()
    (tmp_path / "classes.txt").write_text("b\r\n a \n\n")
    assert listings.class_names(str(tmp_path), folder) == (["b", "a"], None)
    with pytest.raises(MissingDataError):
        listings.class_names(f"{tmp_path}/none", folder)


def test_splits_take_every_file_and_note_masks(tmp_path: Path) -> None:
    root = write(tmp_path, "images/val/b.png", "images/val/a.txt", "masks/val/a.png", "images/other/c.png")
    listing = listings.split_images(0, root, "val")
    assert names(listing) == ["a.txt", "b.png"]
    assert "1 masks for 2 images" in listing.notes[0]
    assert listings.split_images(0, root, "other").notes == ()
    with pytest.raises(MissingDataError):
        listings.split_images(0, root, "none")


def test_words(tmp_path: Path) -> None:
    folder = write(tmp_path / "w", "b.JPG", "a.png", "x/c.jpeg", "no.bmp")
    assert names(listings.words_below(0, folder)) == ["a.png", "b.JPG", "x/c.jpeg"]
    (tmp_path / "gt.txt").write_text("b.JPG one\r\na.png\ttwo\n\nc three words\nd\n")
    listing = listings.listed_words(0, folder, str(tmp_path / "gt.txt"))
    assert names(listing) == ["b.JPG", "a.png", "c", "d"]
    assert "3 lines are not a name and a label: NVIDIA's loader stops there" in listing.notes[0]
    (tmp_path / "gt.txt").write_bytes(b"b.JPG one\ra.png two\r\nx/c.jpeg three\r")
    listing = listings.listed_words(0, folder, str(tmp_path / "gt.txt"))
    assert (names(listing), listing.notes) == (["b.JPG", "a.png", "x/c.jpeg"], ())
    (tmp_path / "gt.txt").write_bytes(b"a b\r\xff c\r")
    with pytest.raises(DataError, match="UTF-8") as caught:
        listings.listed_words(0, folder, str(tmp_path / "gt.txt"))
    assert str(caught.value.where).endswith("gt.txt:2")
    (tmp_path / "gt.txt").write_bytes(b"a b\n\xff c\n")
    with pytest.raises(DataError, match="UTF-8") as caught:
        listings.listed_words(0, folder, str(tmp_path / "gt.txt"))
    assert str(caught.value.where).endswith("gt.txt:2")
    (tmp_path / "gt.txt").write_bytes(b"\xef\xbb\xbfb.JPG one\n")
    with pytest.raises(DataError, match="without a byte-order mark"):
        listings.listed_words(0, folder, str(tmp_path / "gt.txt"))


def test_metric_learning_folders(tmp_path: Path) -> None:
    root = write(tmp_path, "b/2.WEBP", "b/1.tiff", "b/s/0.jpg", "A/3.pgm", "c/readme.txt", "loose.png")
    listing = listings.torchvision_classes(0, root)
    assert names(listing) == ["A/3.pgm", "b/1.tiff", "b/2.WEBP", "b/s/0.jpg"]
    assert "no image is in this class folder" in listing.notes[0]
    assert names(listings.flat_images(0, f"{root}/b")) == []
    with pytest.raises(DataError, match="no class folder"):
        listings.torchvision_classes(0, f"{root}/c")


@pytest.mark.parametrize("name", ["../other", "{there}/other", "x/../../other", "x/../x", ".."])
def test_a_class_leads_to_no_other_folder(tmp_path: Path, name: str) -> None:
    write(tmp_path, "classes/x/1.jpg", "other/2.jpg")
    with pytest.raises(DataError, match="leads out of the folder of class folders"):
        listings.class_images(0, str(tmp_path / "classes"), ["x", name.format(there=tmp_path)], None)


def test_a_class_may_be_a_folder_further_down(tmp_path: Path) -> None:
    listing = listings.class_images(0, write(tmp_path, "deep/x/1.jpg", "y/2.jpg"), ["deep/x", "y"], None)
    assert names(listing) == ["deep/x/1.jpg", "y/2.jpg"]
    assert listing.notes == ()


def test_classes_and_folders_that_do_not_fit_are_told(tmp_path: Path) -> None:
    """A list of classes written by hand: in another case, and without a folder that is there."""
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.jpg").touch()
    (note,) = listings.class_images(0, str(tmp_path), ["a", "B"], None).notes
    assert "no folder has the name of the class B" in note
    assert "no class has the name of the folder b, c, whose images are left out" in note
    assert listings.class_images(0, str(tmp_path), ["a", "b", "c"], None).notes == ()
    with pytest.raises(DataError) as caught:
        listings.class_images(0, str(tmp_path), ["A", "B"], None)
    assert caught.value.hint.startswith("No folder has the name of the class A, B; no class")
