"""COCO files: which images they list, in which order, and what they may cost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from int8cal.errors import DataError, MissingDataError
from int8cal.samples import coco
from int8cal.samples.coco import MAX_DEPTH, MAX_TEXT, matching_files, read_boxes, read_coco


def write(folder: Path, content: object) -> str:
    path = folder / "a.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def image(key: object, name: str, **more: object) -> dict[str, object]:
    return {"id": key, "file_name": name, **more}


def test_images_are_sorted_by_id_and_the_last_of_an_id_wins(tmp_path: Path) -> None:
    images = [image(20, "b"), image(3, "a"), image(20, "c"), image(100, "d", width=1, height=2)]
    path = write(tmp_path, {"info": {"images": [1]}, "images": images, "annotations": [{"image_id": 5}]})
    found = read_coco(path)
    assert [(one.id, one.file_name, one.sized) for one in found.images] == [
        (3, "a", False),
        (20, "c", False),
        (100, "d", True),
    ]
    assert found.doubles == 1
    assert found.sections == {"info", "images", "annotations"}
    assert [one.file_name for one in read_coco(path, every=True).images] == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "not JSON"),
        ("[]", "a list"),
        ("3", "not a mapping"),
        ('{"images": [', "not JSON"),
        ('{"images": []} x', "not JSON"),
        ('{"images": [], "annotations": [{"id": 1,}]}', "not JSON"),
        ('{"images": [], "annotations": [nan]}', "not JSON"),
        ('{"images": [{"id": ' + "9" * 5000 + ', "file_name": "a"}]}', "does not fit into 64 bits"),
        ('{"images": [], "annotations": [{"area": 1e400}]}', "does not fit into 64 bits"),
        ('{"images": [], "images": []}', "twice"),
        ('{"images": [{"id": 1}]}', "image 1 of the list has no file_name"),
        ('{"images": [{"id": 1, "file_name": 5}]}', "image 1 of the list has the file_name 5, which is not text"),
        ('{"images": [{"id": 1, "file_name": "a"}, {"file_name": "b"}]}', "image 2 of the list ('b') has no id"),
        ('{"images": [{"id": true, "file_name": "b"}]}', "has the id True, which is no number"),
        ('{"images": [{"id": [1], "file_name": "b"}]}', "has the id [1], which is no number"),
        ('{"images": [{"id": 1, "file_name": "a"}, {"id": "1", "file_name": "b"}]}', "no order"),
        ('{"annotations": ' + "[" * (MAX_DEPTH + 1), "levels"),
        ('{"a": ' * (MAX_DEPTH + 1), "levels"),
    ],
)
def test_what_is_no_coco_file(tmp_path: Path, content: str, words: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(DataError) as caught:
        read_coco(path)
    assert caught.value.where == path
    assert words in caught.value.message
    assert len(str(caught.value).splitlines()) == 2


def test_bytes_that_are_no_utf8(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'{"images": [{"id": 1, "file_name": "\xff\xfe"}]}')
    with pytest.raises(DataError, match="not JSON"):
        read_coco(str(tmp_path / "a.json"))


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"images": [{"id": 1, "file_name": "a.png"}]}', encoding="utf-8-sig")
    assert [image.file_name for image in read_coco(str(tmp_path / "a.json")).images] == ["a.png"]


def test_no_images_and_no_file(tmp_path: Path) -> None:
    assert read_coco(write(tmp_path, {"images": []})).images == ()
    with pytest.raises(DataError, match="it has no list named images"):
        read_coco(write(tmp_path, {"annotations": []}))
    with pytest.raises(MissingDataError):
        read_coco(str(tmp_path / "none.json"))


def test_a_text_without_end_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with path.open("wb") as file:
        file.write(b'{"info": "')
        for _ in range(MAX_TEXT // (1 << 20) + 2):
            file.write(b"x" * (1 << 20))
        file.write(b'"}')
    with pytest.raises(DataError, match="a text in it is longer"):
        read_coco(str(path))


def test_annotations_take_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    annotation = json.dumps({"image_id": 1, "bbox": [1.5, 2, 3, 4], "segmentation": [[1.25] * 400]}).encode()
    with path.open("wb") as file:
        file.write(b'{"images": [{"id": 1, "file_name": "a"}], "annotations": [')
        file.write(b",".join([annotation] * 5_000))
        file.write(b"]}")
    assert path.stat().st_size > 10_000_000
    code = (
        "import resource, sys\nfrom int8cal.samples.coco import read_coco\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\nread_coco(sys.argv[1])\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 8_000  # KB


def test_boxes_of_some_images(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        {
            "annotations": [
                {"image_id": 2, "category_id": 7, "bbox": [1, 2, 3, 4.5]},
                {"image_id": 1, "category_id": 7, "bbox": [9, 9, 9, 9]},
                {"image_id": 2, "category_id": 8, "bbox": [5, 6, 7, 8]},
                {"image_id": 2, "category_id": 8, "bbox": "x"},
                {"image_id": 2},
            ],
            "images": [image(1, "a"), image(2, "b")],
            "categories": [{"id": 7, "name": "cat"}],
        },
    )
    assert read_boxes(path, ["b"]).of_file == {"b": [("cat", 1, 2, 3, 4.5), ("8", 5, 6, 7, 8)]}


@pytest.mark.parametrize(
    ("section", "key"),
    [("categories", "id"), ("annotations", "image_id"), ("annotations", "category_id"), ("images", "file_name")],
)
def test_an_id_that_is_a_list_is_an_error_of_the_file(tmp_path: Path, section: str, key: str) -> None:
    content: dict[str, Any] = {
        "images": [{"id": 0, "file_name": "a.png"}],
        "categories": [{"id": 1, "name": "car"}],
        "annotations": [{"image_id": 0, "category_id": 1, "bbox": [1, 2, 3, 4]}],
    }
    content[section][0][key] = [content[section][0][key]]
    (tmp_path / "c.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=f"the {key} of an entry is .*, not a number or text"):
        read_boxes(str(tmp_path / "c.json"), ["a.png"])


def test_patterns(tmp_path: Path) -> None:
    for name in ("b.json", "a.json", "c.txt"):
        (tmp_path / name).touch()
    (tmp_path / "d").mkdir()
    everything = [str(tmp_path / name) for name in ("a.json", "b.json", "c.txt")]
    assert matching_files(f"{tmp_path}/*") == everything
    assert matching_files(f"{tmp_path}/*.json") == [f"{tmp_path}/*.json"]
    with pytest.raises(DataError, match=r"not in \.txt"):
        matching_files(f"{tmp_path}/c.txt")
    with pytest.raises(DataError, match="no annotation file matches"):
        matching_files(f"{tmp_path}/none/*")
    assert os.path.isabs(everything[0])


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("chunk", [1, 7, 64, 1 << 18])
def test_numbers_that_python_writes_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str, chunk: int
) -> None:
    """pycocotools reads them, and so does NVIDIA's loader; a text that has the word is as it was."""
    parse = coco.ijson.basic_parse
    monkeypatch.setattr(coco.ijson, "basic_parse", lambda file, **options: parse(file, **options | {"buf_size": chunk}))
    name = f'a \\\\ \\" {word}, {word}.jpg'
    path = write(
        tmp_path,
        f'{{"images": [{{"id": 1, "file_name": "{name}", "area": {word}}}],'
        f'"annotations": [{{"image_id": 1, "category_id": 1, "area":{word}, "bbox": [1, 2, 3, 4]}},'
        f'{{"image_id": 1, "category_id": 1, "bbox": [1, 2, {word}, 4]}}], "categories": []}}',
    )
    (image,) = read_coco(path).images
    assert image.file_name == json.loads(f'"{name}"')
    assert read_boxes(path, [image.file_name]).of_file == {image.file_name: [("1", 1, 2, 3, 4)]}


@pytest.mark.parametrize(
    ("images", "words"),
    [
        ('{"a": {"id": 1, "file_name": "a.jpg"}}', "not a list"),
        ("null", "not a list"),
        ('"a.jpg"', "not a list"),
        ('[{"id": 1, "file_name": "a.jpg"}, "b.jpg"]', "entry 2 of images is not a mapping"),
        ("[null]", "entry 1 of images is not a mapping"),
        ("[[]]", "entry 1 of images is not a mapping"),
    ],
)
def test_images_are_a_list_of_mappings(tmp_path: Path, images: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        read_coco(write(tmp_path, f'{{"images": {images}}}'))


def test_an_entry_of_any_size_takes_no_memory(tmp_path: Path) -> None:
    entry: dict[str, object] = {"id": 1, "file_name": "a.jpg"} | {f"k{number}": number for number in range(50_000)}
    entry["more"] = ["x"] * 50_000
    path = write(tmp_path, json.dumps({"images": [entry], "annotations": [{"image_id": 2, "bbox": [1, 2, 3, 4]}] * 9}))
    tracemalloc.start()
    try:
        assert len(read_coco(path).images) == 1
        assert read_boxes(path, ["a.jpg"]).of_file == {}
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
