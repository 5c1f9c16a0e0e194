"""What users bring, converted: the same content in whatever form, and a refusal with the name of what is wrong."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from own_data import CLASSES, arrays, flowers, png, zipped
from PIL import Image
from pyarrow import parquet

from hsu_core import spec
from hsu_core.data.images import DamagedFile, Images
from hsu_core.data.interactions import Interactions
from hsu_core.data.own import manifest, reading
from hsu_core.data.own.convert import convert
from hsu_core.data.own.manifest import Manifest
from hsu_core.data.own.refusal import Refused
from hsu_core.data.own.sources import SUFFIXES, Options, Source
from hsu_core.data.texts import Texts

Convert = Callable[..., Manifest]


@pytest.fixture
def converted(tmp_path: Path) -> Convert:
    """Converts bytes into the folder `out`."""

    def made(source: Source, train: bytes, test: bytes | None = None, **how: Any) -> Manifest:
        number = len(list(tmp_path.iterdir()))
        files = [tmp_path / f"{number}-{part}{SUFFIXES[source]}" for part in ("train", "test")]
        for file, content in zip(files, (train, test), strict=True):
            file.write_bytes(content or b"")
        out = tmp_path / f"out{number}"
        out.mkdir()
        most = how.pop("most_bytes", 2**40)
        return convert(source, files[0], out, test=files[1] if test else None, options=Options(**how), most_bytes=most)

    return made


def newest(folder: Path) -> Path:
    return max(folder.glob("out*"), key=lambda path: int(path.name[3:]))


def loaded(folder: Path) -> Any:
    """The set that was converted last, as a training reads it."""
    place = newest(folder)
    return reading.load(reading.dataset(place, name="x"), place)


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


def test_a_folder_of_images_is_read_as_it_was_written(converted: Convert, tmp_path: Path) -> None:
    files = flowers()
    made = converted("folder", zipped(files))
    found = loaded(tmp_path)
    assert isinstance(found, Images)
    assert (found.train_x.shape, found.test_x.shape) == ((24, 1, 8, 8), (6, 1, 8, 8))
    given = {pixels(content).tobytes(): CLASSES.index(name.split("/")[0]) for name, content in files.items()}
    for x, y in ((found.train_x, found.train_y), (found.test_x, found.test_y)):
        assert all(given.pop(image.tobytes()) == label for image, label in zip(x, y, strict=True))
    assert given == {}
    assert made.content.mean == pytest.approx((found.train_x.mean(),))
    manifest.verify(newest(tmp_path), made)


def test_the_split_depends_on_the_seed_alone(converted: Convert) -> None:
    content = zipped(flowers())
    first, again, other = (converted("folder", content, seed=seed).sha256 for seed in (1, 1, 2))
    assert (first == again, first == other) == (True, False)
    half = converted("folder", content, test_fraction=0.5)
    assert half.content.test_counts == (5, 5, 5)


def test_parts_may_be_folders_or_a_second_archive(converted: Convert) -> None:
    train, test = flowers(), flowers(2, seed=1)
    inside = {f"train/{name}": content for name, content in train.items()}
    inside |= {f"test/{name}": content for name, content in test.items()}
    one = converted("folder", zipped(inside))
    two = converted("folder", zipped(train), zipped(test))
    assert one.sha256 == two.sha256
    assert one.content.test_counts == (2, 2, 2)


def test_arrays_in_every_layout_are_the_same_images(converted: Convert) -> None:
    x = np.random.default_rng(0).integers(0, 256, (40, 5, 4, 3), dtype=np.uint8)
    y = np.arange(40) % 4
    last = converted("npz", arrays(x=x, y=y))
    first = converted("npz", arrays(x_train=x.transpose(0, 3, 1, 2), y_train=y))
    packed = io.BytesIO()
    np.savez_compressed(packed, x=x, y=y)
    assert last.sha256 == first.sha256 == converted("npz", packed.getvalue()).sha256
    assert last.content.shape == (3, 5, 4)
    named = converted("npz", arrays(x=x[..., 0], y=np.array(["cat", "dog"])[y % 2]))
    assert (named.content.shape, named.content.class_names) == ((1, 5, 4), ("cat", "dog"))
    both = converted("npz", arrays(x=x[:30], y=y[:30], x_test=x[30:], y_test=y[30:]))
    apart = converted("npz", arrays(x=x[:30], y=y[:30]), arrays(x=x[30:], y=y[30:]))
    assert both.sha256 == apart.sha256


def table(images: list[Any], labels: list[Any], names: list[str] | None = None) -> bytes:
    columns = pa.table({"image": images, "label": labels})
    if names:
        about = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
        columns = columns.replace_schema_metadata({"huggingface": json.dumps(about)})
    out = io.BytesIO()
    parquet.write_table(columns, out, row_group_size=7)
    return out.getvalue()


def test_a_parquet_file_of_hugging_face_is_the_same_as_the_folder(converted: Convert) -> None:
    files = dict(sorted(flowers().items()))
    images = [{"bytes": content, "path": name} for name, content in files.items()]
    labels = [CLASSES.index(name.split("/")[0]) for name in files]
    found = converted("parquet", table(images, labels, list(CLASSES)))
    assert found.sha256 == converted("folder", zipped(files)).sha256
    bare = converted("parquet", table(list(files.values()), labels))
    assert bare.content.class_names == ("0", "1", "2")


def test_images_of_several_shapes_and_modes_are_scaled_on_request(converted: Convert, tmp_path: Path) -> None:
    files = flowers(side=16)
    colour = np.zeros((40, 20, 3), dtype=np.uint8)
    colour[10:30] = (200, 100, 50)
    for name, kind in (("rose/x.jpg", "JPEG"), ("rose/y.webp", "WEBP")):
        out = io.BytesIO()
        Image.fromarray(colour).save(out, kind, quality=100)
        files[name] = out.getvalue()
    made = converted("folder", zipped(files), size=8)
    assert made.content.shape == (3, 8, 8)
    found = loaded(tmp_path)
    brown = [image for image in np.concatenate([found.train_x, found.test_x]) if np.ptp(image.mean(axis=(1, 2))) > 50]
    assert len(brown) == 2
    assert all(abs(image - np.array([200, 100, 50])[:, None, None]).max() < 12 for image in brown)


TEXTS = "text,category\n" + "".join(f"Wörter {number},{'ab'[number % 2]}\n" for number in range(20))


def test_texts_are_read_as_they_were_written(converted: Convert, tmp_path: Path) -> None:
    made = converted("texts", TEXTS.encode())
    found = loaded(tmp_path)
    assert isinstance(found, Texts)
    assert (made.content.train_counts, made.content.test_counts) == ((8, 8), (2, 2))
    every = zip([*found.train_x, *found.test_x], [*found.train_y, *found.test_y], strict=True)
    assert {(text, "ab"[label]) for text, label in every} == {(f"Wörter {n}", "ab"[n % 2]) for n in range(20)}
    assert found.classes == ["a", "b"]
    converted("texts", TEXTS.encode(), b"category,text\nb,Noch eins\n")
    assert loaded(tmp_path).test_x == ["Noch eins"]


def test_interactions_are_split_by_time(converted: Convert, tmp_path: Path) -> None:
    rows = [f"{user},{user * 3 + time},{4 + time % 2},{time}" for user in range(3) for time in range(5)]
    made = converted("interactions", "\n".join(["userId,movieId,rating,timestamp", *rows]).encode())
    found = loaded(tmp_path)
    assert isinstance(found, Interactions)
    assert made.content.sizes == {"users": 3, "items": 11, "train": 12, "test": 3}
    assert found.test.tolist() == [[0, 4], [1, 7], [2, 10]]


def with_file(name: str, content: bytes) -> bytes:
    return zipped(flowers() | {name: content})


def bomb() -> bytes:
    """A PNG of 20,000×20,000 black pixels in 50 kB."""
    out = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(out, "PNG")
    return out.getvalue()


def linked() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        entry = zipfile.ZipInfo("rose/link.png")
        entry.external_attr = 0o120777 << 16
        archive.writestr(entry, "/etc/passwd")
    return out.getvalue()


ROSE = flowers()["rose/1.png"]
SIXTEEN = io.BytesIO()
Image.fromarray(np.zeros((8, 8), dtype=np.uint16)).save(SIXTEEN, "PNG")

REFUSED: dict[str, tuple[Source, bytes, str]] = {
    "truncated": ("folder", with_file("rose/1.png", ROSE[:70]), "rose/1.png: the image is damaged"),
    "no head": ("folder", with_file("rose/1.png", ROSE[:10]), "rose/1.png: expected PNG, JPEG or WebP"),
    "a bomb": ("folder", with_file("rose/1.png", bomb()), "rose/1.png: it is taken for a decompression bomb"),
    "a gif": ("folder", with_file("rose/1.png", b"GIF89a" + bytes(50)), "rose/1.png: expected PNG, JPEG or WebP"),
    "16 bits": ("folder", with_file("rose/1.png", SIXTEEN.getvalue()), "rose/1.png: expected 8 bits a channel"),
    "another shape": (
        "folder",
        with_file("rose/1.png", png(np.zeros((9, 8), dtype=np.uint8))),
        r"rose/1.png is 8×9 and daisy/0.png is 8×8, but .*size 32",
    ),
    "a huge shape": ("folder", zipped({"a/1.png": png(np.zeros((2, 2000), np.uint8))}), "1024 pixels at most"),
    "one class": ("folder", zipped({"a/1.png": ROSE, "a/2.png": ROSE}), "at least two classes, found only 'a'"),
    "nothing": ("folder", zipped({}), "at least two classes, found no example"),
    "an empty class": ("folder", with_file("lily/", b""), "lily: the folder of a class has no image"),
    "no folders": ("folder", with_file("1.png", ROSE), "1.png: expected CLASS/IMAGE"),
    "out of its folder": ("folder", with_file("../../rose.png", ROSE), "must stay within its folder"),
    "an absolute name": ("folder", with_file("/rose/1.png", ROSE), "must stay within its folder"),
    "a link": ("folder", linked(), "rose/link.png: expected a file, found a link"),
    "no archive": ("folder", b"PK" + bytes(100), "expected a zip archive"),
    "a class only to test": (
        "folder",
        zipped({f"train/{name}": content for name, content in flowers().items()} | {"test/lily/1.png": ROSE}),
        "the class 'lily' has test examples, but no training example",
    ),
    "nothing to test": ("folder", zipped({"a/1.png": ROSE, "b/1.png": ROSE}), "no example is left for the test"),
    "objects": ("npz", arrays(x=np.array([{}, {}]), y=np.arange(2)), "x: expected an array without objects"),
    "floats": ("npz", arrays(x=np.zeros((4, 8, 8)), y=np.arange(4)), "as uint8, found float64"),
    "no y": ("npz", arrays(x=np.zeros((4, 8, 8), np.uint8)), "expected an array y, found x"),
    "short y": ("npz", arrays(x=np.zeros((4, 8, 8), np.uint8), y=np.arange(3)), "a class for each of 4 images"),
    "five channels": ("npz", arrays(x=np.zeros((4, 8, 8, 5), np.uint8), y=np.arange(4)), "with 1 or 3 channels"),
    "real classes": ("npz", arrays(x=np.zeros((4, 8, 8), np.uint8), y=np.arange(4) / 2), "found float64"),
    "no npz": ("npz", b"\x93NUMPY", "expected a zip archive"),
    "no parquet": ("parquet", b"PAR1" + bytes(40), "expected a Parquet file"),
    "no image column": ("parquet", table([1], [1]).replace(b"image", b"picts"), "expected a"),
    "no bytes": ("parquet", table([1, 2], [0, 1]), "row 0: expected the bytes of an image, found int"),
    "an unnamed class": ("parquet", table([ROSE, ROSE], [0, 7], ["a", "b"]), "row 1: expected a class from 0 to 1"),
    "a damaged row": ("parquet", table([ROSE, ROSE[:70]] * 6, [0, 1] * 6), "row 1: the image is damaged"),
    "no category": ("texts", TEXTS.replace("category", "label").encode(), "train.csv: expected the columns text"),
    "no text": ("texts", b"text,category\n,a\n", "train.csv: line 2: expected a text and its category"),
    "few ratings": ("interactions", b"userId,movieId,rating,timestamp\n1,1,5,1\n", "three interactions or more"),
    "a huge number": ("interactions", b"userId,movieId,rating,timestamp\n%s,1,5,1\n" % (b"9" * 30), "too large"),
}


@pytest.mark.parametrize(("source", "content", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_wrong_is_named(converted: Convert, source: Source, content: bytes, message: str) -> None:
    with pytest.raises(Refused, match=message):
        converted(source, content)


def test_an_entry_that_is_larger_than_it_says_is_refused(converted: Convert) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", bytes(10**7))
        archive.writestr("y.npy", b"")
    with pytest.raises(Refused, match="at most, found more"):
        converted("npz", packed.getvalue(), most_bytes=10**6)


def test_a_set_takes_no_more_space_than_it_may(converted: Convert) -> None:
    with pytest.raises(Refused, match="the converted set may have 2,000 bytes at most"):
        converted("folder", zipped(flowers(20)), most_bytes=2000)


def test_hidden_files_count_for_nothing(converted: Convert) -> None:
    plain = flowers()
    hidden = plain | {"rose/.DS_Store": b"x", "__MACOSX/rose/1.png": b"x", "rose/Thumbs.db": b"x"}
    assert converted("folder", zipped(hidden)).sha256 == converted("folder", zipped(plain)).sha256


def test_options_that_mean_nothing_for_a_source_are_refused(converted: Convert) -> None:
    with pytest.raises(Refused, match="size scales the images"):
        converted("npz", b"", size=32)
    with pytest.raises(Refused, match="leave the test part out"):
        converted("interactions", b"x", b"y")


def test_a_folder_that_is_not_the_one_of_the_spec_is_damaged(converted: Convert, tmp_path: Path) -> None:
    made = converted("folder", zipped(flowers()))
    place = newest(tmp_path)
    dataset = reading.dataset(place, name="x")
    with pytest.raises(DamagedFile, match="expected the SHA-256 0000"):
        reading.load(dataset.model_copy(update={"sha256": "0" * 64}), place)
    with pytest.raises(DamagedFile, match="the spec says"):
        reading.load(dataset.model_copy(update={"train": 25}), place)
    (place / "train_y.npy").write_bytes(b"other")
    with pytest.raises(DamagedFile, match=r"train_y.npy: expected the SHA-256"):
        manifest.verify(place, made)


def test_a_spec_of_the_converted_set_has_its_sizes(converted: Convert, tmp_path: Path) -> None:
    made = converted("folder", zipped(flowers()))
    found = reading.dataset(newest(tmp_path), name="flowers")
    assert found == spec.OwnImages(name="flowers", version=1, sha256=made.sha256, **made.content.sizes)
    assert found.facts == spec.ImageFacts((1, 8, 8), classes=3, train=24, test=6)
