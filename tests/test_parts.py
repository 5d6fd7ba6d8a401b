"""Numbered files as one word of a command line."""

from hypothesis import given
from hypothesis import strategies as st

from astroml.parts import numbered, spelled_out

FOLDERS = st.text("ab/_-. 9", max_size=6)


def given_as(option, words):
    return [one for word in words for one in (option, word)]


@given(FOLDERS, st.integers(0, 30), st.sampled_from([".h5", ".rejects.parquet", ".maps.h5", ""]))
def test_what_is_told_in_one_word_is_all_there(folder, count, ending):
    files = [f"{folder}/{n}{ending}" for n in range(count)]
    words = numbered(files)
    assert len(words) <= 1
    assert spelled_out(["infer", *given_as("--store", words)]) == [
        "infer",
        *given_as("--store", files),
    ]


@given(st.lists(st.text("01a/.{}", min_size=1, max_size=6)))
def test_other_files_are_left_as_they_are(files):
    assert spelled_out(given_as("--rows", numbered(files))) == given_as("--rows", files)


def test_ten_thousand_shards_are_a_short_word():
    word = numbered(f"store/galaxy/{n}.h5" for n in range(10_000))
    assert word == ["store/galaxy/{0..9999}.h5"]


def test_options_are_no_range():
    words = ["train", "--options", '{"a": "{0..3}.h5"}', "{0..3}.h5", "--splits", "{seed: 1}"]
    assert spelled_out(words) == words
