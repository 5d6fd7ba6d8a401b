"""What made a file, and files that are whole or not there."""

import pytest

from astroml.config import Ingest
from astroml.progress import Progress
from astroml.provenance import digest, replacing, stamp


def test_digest_sees_content_not_order_or_name(tmp_path):
    (tmp_path / "a").write_text("x")
    (tmp_path / "b").write_text("x")
    (tmp_path / "c").write_text("y")
    assert digest(tmp_path / "a") == digest(tmp_path / "b") != digest(tmp_path / "c")
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1}) != digest({"a": 1, "b": 3})
    assert digest(Ingest()) != digest(Ingest(chunks=2))


def test_a_stamp_tells_inputs_of_one_name_apart(tmp_path):
    paths = [tmp_path / "one/0.h5", tmp_path / "two/0.h5", tmp_path / "two/1.h5"]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.write_text(str(path))
    inputs = stamp("train", {}, paths)["inputs"]
    assert list(inputs) == ["one/0.h5", "two/0.h5", "1.h5"]
    assert len(set(inputs.values())) == 3


def test_a_stamp_holds_no_clock():
    assert stamp("train", Ingest()) == stamp("train", Ingest())


def test_a_file_is_whole_or_not_there(tmp_path):
    path = tmp_path / "new/file"

    def fail():
        with replacing(path) as part:
            part.write_text("half")
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        fail()
    assert not list(path.parent.iterdir())
    with replacing(path) as part:
        part.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"


def test_what_killed_writers_left_goes(tmp_path):
    (tmp_path / "file.123.part").write_text("left")
    (tmp_path / "file2.123.part").write_text("another's")
    with replacing(tmp_path / "file") as part:
        part.write_text("whole")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["file", "file2.123.part"]


def test_progress_counts_and_speaks(capsys, monkeypatch):
    monkeypatch.setattr("astroml.progress.PAUSE", -1)
    with Progress("ingest", 8, done=2) as progress:
        progress.advance(2)
        progress.line("a line")
    assert progress.done == 4
    out = capsys.readouterr().out
    assert out.startswith("ingest [############............] 4/8, ")
    assert out.endswith("a line\n")
    assert progress.rate == pytest.approx(2 / progress.seconds, rel=0.1)
