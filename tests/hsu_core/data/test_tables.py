"""Texts and interactions from CSV files: what is read, what is held out, and what is wrong with a file."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from hsu_core import spec
from hsu_core.data import interactions, reading, texts
from hsu_core.data.images import DamagedFile

TWO_CLASSES = spec.TextFacts(classes=2, train=3, test=1)
TEXTS = 'text,category\nWhere is it?,b\n"Two\nlines, one text",a\nAgain?,b\n'
TEST = "category,text,more\na,Is it?,x\n"
FEW = spec.InteractionFacts(users=3, items=4, train=8, test=2)
RATINGS = """userId,movieId,rating,timestamp
7,30,4.0,50
7,10,5.0,10
7,20,4.5,20
7,20,3.5,30
7,40,4.0,40
7,10,4.0,60
2,30,4.0,9
9,10,5.0,3
9,20,4.0,1
9,30,4.0,2
"""
"""User 7 has five, the last of them of time 60; user 2 has one; user 9 has three, of which one is held out."""


def written(folder: Path, *contents: str) -> list[Path]:
    paths = [folder / f"{number}.csv" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_text(content, encoding="utf-8", newline="")
    return paths


def test_texts_get_the_numbers_of_their_classes_in_alphabetical_order(tmp_path: Path) -> None:
    found = texts.read(written(tmp_path, TEXTS, TEST), TWO_CLASSES)
    assert found.classes == ["a", "b"]
    assert found.train_x == ["Where is it?", "Two\nlines, one text", "Again?"]
    assert (found.train_y.tolist(), found.test_y.tolist()) == ([1, 0, 1], [0])


def test_a_packed_table_is_read_and_a_mark_of_its_encoding_left_out(tmp_path: Path) -> None:
    train, test = written(tmp_path, TEXTS, TEST)
    packed = train.with_name("train.csv.gz")
    packed.write_bytes(gzip.compress(b"\xef\xbb\xbf" + train.read_bytes()))
    assert texts.read([packed, test], TWO_CLASSES).train_y.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (TEXTS.replace("category", "label"), TEST, "expected the columns text, category, found text, label"),
        ("", TEST, "expected the columns text, category, found none"),
        (TEXTS.replace("Where is it?", " "), TEST, "line 2: expected a text and its category, found "),
        (TEXTS.replace("Where is it?,b", "Where is it?"), TEST, "line 2: expected 2 cells, found fewer"),
        (TEXTS.replace("Again?,b", "Again?,"), TEST, "line 5: expected a text and its category, found "),
        (TEXTS + "More?,b\n", TEST, "expected 3 texts, found 4"),
        (TEXTS.replace(",a", ",b"), TEST.replace("a,Is", "b,Is"), "expected 2 classes, found 1"),
        (TEXTS, TEST.replace("a,Is", "c,Is"), "line 2: expected a class that has training texts, found 'c'"),
        (TEXTS.replace("Again?", '"Again?'), TEST, "unexpected end of data"),
    ],
    ids=["column", "empty file", "empty text", "short", "no class", "too many", "too few", "untrained class", "quote"],
)
def test_a_damaged_table_of_texts_is_named(tmp_path: Path, train: str, test: str, message: str) -> None:
    with pytest.raises(DamagedFile, match=message):
        texts.read(written(tmp_path, train, test), TWO_CLASSES)


def test_a_table_in_another_encoding_is_named(tmp_path: Path) -> None:
    (path,) = written(tmp_path, TEXTS)
    path.write_bytes(TEXTS.replace("Where", "Où").encode("latin-1"))
    with pytest.raises(DamagedFile, match="expected text in UTF-8"):
        texts.read([path, path], TWO_CLASSES)


def test_the_last_fifth_of_each_users_interactions_by_time_is_held_out(tmp_path: Path) -> None:
    found = interactions.read(written(tmp_path, RATINGS), FEW._replace(train=7))
    assert found.train.tolist() == [[0, 2], [1, 0], [1, 1], [1, 3], [1, 2], [2, 1], [2, 2]]
    assert found.test.tolist() == [[1, 0], [2, 0]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("rating", "stars"), "expected the columns userId, movieId, timestamp, rating, found"),
        (("2,30,4.0,9", "2,30,good,9"), "line 8: expected numbers, found: could not convert string to float: 'good'"),
        (("2,30,4.0,9", "2,30,3.0,9"), "expected 3 users and 4 items with 4 stars or more, found 2 and 4"),
        (("9,10,5.0,3", "9,10,1.0,3"), "expected 7 interactions to train on and 2 to test, found 7 and 1"),
    ],
    ids=["column", "number", "users", "count"],
)
def test_a_damaged_table_of_ratings_is_named(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    with pytest.raises(DamagedFile, match=message):
        interactions.read(written(tmp_path, RATINGS.replace(*change)), FEW._replace(train=7))


@pytest.mark.dataset
@pytest.mark.parametrize("dataset", [spec.Banking77(), spec.MovieLensSmall()], ids=lambda dataset: dataset.kind)
def test_the_published_tables_are_as_their_facts_say(
    dataset: spec.Dataset, data_dir: Callable[[spec.Dataset], Path]
) -> None:
    assert reading.load(dataset, data_dir(dataset))  # the readers compare them
