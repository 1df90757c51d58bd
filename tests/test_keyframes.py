"""Reading of key frames: the interval between them, and the part of the file."""

from support.media import make_clip, number_of

from streamkind.video.keyframes import key_frames


def test_key_frames_are_looked_at_every_second_in_the_part_that_is_wanted(tmp_path):
    clip = make_clip(tmp_path / "in.mkv", frames=80, options={"g": "1"})  # all are key frames

    def seen(**part):
        return [number_of(gray[-1:, -1:]) for gray in key_frames(clip, **part)]

    assert seen() == [0, 25, 0, 25, 29]  # numbers begin again after 49; the last frame is read too
    assert seen(start=1, duration=1.5) == [25, 0, 12]
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    assert seen()[:2] == [0, 25]  # a truncated file is read as far as it goes
    assert 25 < seen()[-1] < 50
