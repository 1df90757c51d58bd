"""The options of the commands and of the Python API, which share one description."""

from __future__ import annotations

import inspect
from dataclasses import fields
from typing import Any, get_type_hints

import pytest
import typer
from support.media import read_video

import streamkind
from streamkind.batch.files import find_jobs
from streamkind.cli import options
from streamkind.engine.options import (
    BATCH,
    TRACK,
    EnhanceOptions,
    Options,
    TrackOptions,
    help_of,
)


def read(*words):
    """Return the options that a command parses from words."""
    taken = []

    @options.takes("chosen", options.described())
    def command(*, chosen: dict[str, Any]) -> None:
        taken.append(Options(**chosen))

    app = typer.Typer()
    app.command()(command)
    app(words, standalone_mode=False)
    return taken[0]


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ([], {}),
        (["--ratio", "auto"], {}),
        (["--ratio", "2"], {"ratio": 2.0}),
        (["--steady", "none"], {"steady": ()}),
        (["--steady", "light,noise"], {"steady": ("light", "noise")}),
        (["--one-pass"], {"two_pass": False}),
        (["--two-pass", "--side-by-side"], {"two_pass": True, "side_by_side": True}),
        (["--start", "01:02.5", "--duration", "3"], {"start": 62.5, "duration": 3.0}),
        (["--crf", "20", "--video-stream", "2"], {"crf": 20, "video_stream": 2}),
        (["--deinterlace", "field", "--profile", "realtime"],
         {"deinterlace": "field", "profile": "realtime"}),
    ],
)  # fmt: skip
def test_texts_of_the_command_line_become_options(words, wanted):
    assert read(*words) == Options(**wanted)


@pytest.mark.parametrize(
    ("work", "names", "types"),
    [
        (streamkind.enhance, [f.name for f in fields(Options)], EnhanceOptions),
        (streamkind.find_track, TRACK, TrackOptions),
    ],
)
def test_type_checkers_and_help_know_every_option(work, names, types):
    known = get_type_hints(Options)
    assert get_type_hints(types) == {name: known[name] for name in names}
    taken = inspect.signature(work).parameters
    assert set(taken) - set(names) <= {"input", "output", "progress"}
    for name in names:
        assert taken[name].default == getattr(Options(), name)
        assert help_of(name) in inspect.getdoc(work)


def test_an_option_that_does_not_exist_is_refused(clip, tmp_path):
    with pytest.raises(TypeError, match="ratoi"):
        streamkind.enhance(clip, tmp_path / "out.mp4", ratoi=3)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"ratio": 2.0}, "find_track does not take ratio"),
        ({"codec": "av1"}, "find_track does not take codec"),
    ],
)
def test_the_first_pass_alone_takes_fewer_options(clip, options, told):
    with pytest.raises(streamkind.UsageError, match=told):
        streamkind.find_track(clip, **options)


@pytest.mark.parametrize("name", sorted({f.name for f in fields(Options)} - set(BATCH)))
def test_a_batch_takes_whole_files(clip, tmp_path, name):
    given = {"two_pass": True, "ratio_track": "t.csv", "fps": 5.0, "video_stream": 1,
             "side_by_side": True, "start": 1.0, "duration": 1.0, "hwaccel": "auto"}  # fmt: skip
    with pytest.raises(streamkind.UsageError, match=f"a batch does not take {name}"):
        find_jobs([clip], tmp_path / "out", Options(**{name: given[name]}))


def test_a_batch_encodes_what_the_name_of_the_result_needs(call, clip, tmp_path):
    out = tmp_path / "out"
    code, _, err = call("batch", clip, "--out", out, "--name", "{stem}.webm", "--model", "student")
    assert code == 0, err
    assert read_video(out / "clip.webm").codec == "vp9"
