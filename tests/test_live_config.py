"""Settings in cameras.toml that are read or refused, and secrets, which no message shows."""

from __future__ import annotations

import pytest

from streamkind.cli import live
from streamkind.errors import InputError, UsageError
from streamkind.live.config import check_camera, read_camera, read_config, redact, resolve
from streamkind.live.secrets import hide_passwords


def camera_of(**change):
    return read_camera("yard", {"url": "rtsp://10.0.0.5/1", **change})


TOML = """
[console]
port = 9000
token = "${TOKEN}"

[camera.yard]
url = "rtsp://user:${YARD}@10.0.0.5/1"
to = ["rtsp://127.0.0.1:8554/yard", "recordings/yard"]
target = 0.5
ratio = 3

[camera.gate]
url = "v4l2:/dev/video0"
to = "hls/gate.m3u8"
required = false
"""


def test_reads_cameras_and_console(tmp_path):
    path = tmp_path / "cameras.toml"
    path.write_text(TOML)
    cameras, console = read_config(path)
    assert list(cameras) == ["yard", "gate"]
    assert cameras["yard"].url == "rtsp://user:${YARD}@10.0.0.5/1"  # resolved when it is opened
    assert cameras["yard"].to == ("rtsp://127.0.0.1:8554/yard", "recordings/yard")
    assert (cameras["yard"].ratio, cameras["yard"].target) == (3, 0.5)
    assert cameras["gate"].to == ("hls/gate.m3u8",) and not cameras["gate"].required
    assert (console.host, console.port, console.token) == ("127.0.0.1", 9000, "${TOKEN}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[camera.yard", "Expected"),
        ("[cameras.yard]\nurl = 'rtsp://h/1'", "unknown 'cameras'"),
        ("[camera.yard]\nurl = 'rtsp://h/1'\nfps = 3", "fps: not known; expected url, to, "),
        ("[camera.yard]\nto = 'x'", "url: Field required"),
        ("[camera]\nyard = 3", "must be a table"),
        ("[camera.'a b']\nurl = 'rtsp://h/1'", "name: String should match"),
        ("[camera.yard]\nurl = 3", "url: Input should be a valid string"),
        ("[camera.yard]\nurl = 'rtsp://h/1'\nto = [3]", "to: Input should be a valid string"),
        (
            "[camera.yard]\nurl = 'rtsp://h/1'\ntarget = 'x'",
            "target: Input should be a valid number",
        ),
        ("[console]\nport = 99999", "console: port: Input should be less than 65536"),
        (
            "[camera.a]\nurl='rtsp://h/1'\nto='x/rec'\n[camera.b]\nurl='rtsp://h/2'\nto='./x/rec/'",
            "its output './x/rec/' is one of camera 'a' already",
        ),
    ],
)
def test_refuses_in_one_line(tmp_path, text, said):
    path = tmp_path / "cameras.toml"
    path.write_text(text)
    with pytest.raises((UsageError, InputError), match=said) as error:
        read_config(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "[camera]\nyard = 'rtsp://u:sesame@h/1'",
        "camera = 'rtsp://u:sesame@h/1'",
        "[camera.yard]\nurl = 'gopher://u:sesame@h/1'",
        "[camera.yard]\nurl = 'rtsp://h/1'\nto = ['gopher://u:sesame@h/1']",
        "[camera.yard]\nurl = ['rtsp://u:sesame@h/1']",
        "[camera.yard]\nurl = 'rtsp://h/1'\ntarget = 'rtsp://u:sesame@h/1'",
        "[camera.yard]\nurl = 'rtsp://h/1'\nrecording = 'rtsp://u:sesame@h/1'",
        "[camera.yard]\nurl = 'rtsp://u:sesame@h/1",
        "[console]\ntoken = ['sesame']",
        "[console]\nport = 'rtsp://u:sesame@h/1'",
        "[camera.yard]\nurl = 'rtsp://h/1'\nratio = 'rtsp://u:sesame@h/1'",
        "[camera.yard]\nurl = 'rtsp://h/1'\ncodec = 'rtsp://u:sesame@h/1'",
    ],
)
def test_no_refusal_repeats_a_password(tmp_path, text):
    path = tmp_path / "cameras.toml"
    path.write_text(text)
    with pytest.raises((UsageError, InputError)) as error:
        read_config(path)
    assert "sesame" not in str(error.value)


OTHER_NAMES = [("max_delay", "max_delay_seconds"), ("timeout", "timeout_seconds")]


@pytest.mark.parametrize(("other", "name"), OTHER_NAMES)
def test_limits_are_taken_without_their_unit_too(other, name, tmp_path, call, monkeypatch):
    """Check the setting in cameras.toml, and as an option of the command."""
    path = tmp_path / "cameras.toml"
    path.write_text(f"[camera.yard]\nurl = 'rtsp://10.0.0.5/1'\n{other} = 7.5\n")
    assert read_config(path)[0]["yard"] == camera_of(**{name: 7.5}) != camera_of()
    with pytest.raises(UsageError, match=f"{other}: not known"):
        camera_of(**{name: 7.5, other: 7.5})
    seen = []

    def noted(*given):
        seen.append(read_camera(*given))
        raise UsageError("seen")

    monkeypatch.setattr(live, "read_camera", noted)
    for word in (other, name):
        call("stream", "rtsp://h/1", "--to", "rec", f"--{word.replace('_', '-')}", "7.5")
    assert [getattr(config, name) for config in seen] == [7.5, 7.5]


def test_a_missing_file_is_reported(tmp_path):
    with pytest.raises(InputError, match=r"cameras\.toml: No such file"):
        read_config(tmp_path / "cameras.toml")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"url": "gopher://h/1"}, "expected rtsp"),
        ({"url": "rtsp:"}, "expected rtsp"),
        ({"url": "v4l2:/etc/passwd"}, "v4l2:/dev/videoN"),
        ({"to": ("gopher://h/1",)}, "expected rtsp"),
        ({"to": ("udp://h:1", "udp://h:1")}, "twice"),
        ({"to": ("rec/yard", "./rec/yard/")}, "twice"),
        ({"codec": "mpeg9"}, "no such video encoder"),
        ({"ratio": 99.0}, "less than or equal to 10 or Input should be 'auto'"),
        ({"target": 2.0}, "less than or equal to 1"),
        ({"max_delay_seconds": 0.0}, "max_delay_seconds"),
        ({"timeout_seconds": float("nan")}, "timeout_seconds"),
        ({"keep_gb": -1.0}, "keep_gb"),
        ({"required": 1}, "required: Input should be a valid boolean"),
        ({"ratio": True}, "ratio: "),
        ({"max_delay_seconds": "3"}, "max_delay_seconds: Input should be a valid number"),
        ({"to": ("rtsp://h/1", "")}, "to: String should have at least 1 character"),
        ({"transport": "quic"}, "transport: Input should be 'auto', 'tcp'"),
        ({"recording": "avi"}, "'mkv' or 'mp4'"),
    ],
)
def test_settings_that_cannot_work(change, said):
    camera_of()
    with pytest.raises(UsageError, match=said):
        camera_of(**change)


@pytest.mark.parametrize(
    "change",
    [
        {"url": "file:/etc/passwd"},
        {"url": "rtsp://attacker/${file:/etc/shadow}"},
        {"to": ("rtsp://attacker/${HOME}",)},
        {"to": ("/etc/cron.d",)},
    ],
)
def test_the_api_cannot_read_files_and_the_environment(change):
    config = camera_of(**change)
    with pytest.raises(UsageError):
        check_camera(config, from_api=True)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("rtsp://u:p@h/1", "rtsp://u:***@h/1"),
        ("open rtsp://u:p@ss@h:554/1?token=abc&x=2 failed", None),
        ("rtsp://u:p/ss@h/1", "rtsp://u:***@h/1"),
        # This may also be a host, a port and a path. The two cases cannot be told apart.
        ("http://h:8080/a@b", "http://h:***@b"),
        ("two rtsp://a:b1@h rtsp://c:d2@h", "two rtsp://a:***@h rtsp://c:***@h"),
    ],
)
def test_passwords_are_redacted(text, told):
    shown = redact(text)
    assert shown == (told or "open rtsp://u:***@h:554/1?token=***&x=2 failed")


def test_files_of_windows_editors_are_read(tmp_path):
    """Check files with a byte order mark, and lines that end in CR and LF."""
    path, key = tmp_path / "cameras.toml", tmp_path / "key"
    path.write_bytes(b"\xef\xbb\xbf" + TOML.replace("\n", "\r\n").encode())
    key.write_bytes(b"\xef\xbb\xbffilesecret\r\n")
    assert list(read_config(path)[0]) == ["yard", "gate"]
    assert resolve("${file:" + str(key) + "}") == "filesecret"


def test_secrets_come_from_the_environment_and_files(tmp_path, monkeypatch):
    monkeypatch.setenv("YARD", "pa@ss/word")
    (tmp_path / "key").write_text("filesecret\n")
    assert resolve("rtsp://u:${YARD}@h/${file:" + str(tmp_path / "key") + "}") == (
        "rtsp://u:pa%40ss%2Fword@h/filesecret"
    )
    assert redact("failed: pa@ss/word filesecret pa%40ss%2Fword") == "failed: *** *** ***"
    assert resolve("rtsp://${YARD}:${file:" + str(tmp_path / "key") + "}@h/1") == (
        "rtsp://pa%40ss%2Fword:filesecret@h/1"
    )
    with pytest.raises(UsageError, match="'NOT_THERE' is not set"):
        resolve("${NOT_THERE}")
    with pytest.raises(UsageError, match="No such file"):
        resolve("${file:" + str(tmp_path / "none") + "}")


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://admin:1234/SESAME@10.0.0.5/1",
        "rtsp://admin:p@SESAME:w/rd@10.0.0.5/1",
        "rtsp://admin:pa SESAME@10.0.0.5/1",
        "rtsp://admin:x#SESAME?y@10.0.0.5/1",
        "rtsp://admin:a://SESAME@10.0.0.5/1",
        "rtsp://admin:'SESAME'@10.0.0.5/1",
        "rtsp://ad/min:SESAME@10.0.0.5/1",
        "rtsp://admin%3aSESAME@10.0.0.5/1",
        "rtsp://10.0.0.5/user=admin_password=SESAME_channel=1_stream=0.sdp",
        "rtsp://10.0.0.5/user=admin_password=a_SESAME_channel=1_stream=0.sdp",
        "rtsp://10.0.0.5/user=admin&password=SESAME&channel=1",
        "http://10.0.0.5/video.cgi?loginuse=admin&loginpas=SESAME",
        "http://10.0.0.5/v?u=admin&p=SESAME",
        "http://10.0.0.5/v?usr=admin&psw=SESAME/x?y",
        "http://10.0.0.5/v?usr=admin&PWD=SESAME",
        "http://10.0.0.5/v?access_token=SESAME;x=1",
        "http://10.0.0.5/v?X-Amz-Signature=SESAME",
        "http://10.0.0.5/v?pass_word=SESAME&a=1",
        "http://10.0.0.5/v?auth_code=SESAME",
        "http://10.0.0.5/v?verifycode=SESAME",
        "http://10.0.0.5/v?session=SESAME",
        "http://10.0.0.5/v?jwt=SESAME",
        "http://10.0.0.5/v?password%3DSESAME",
        "http://10.0.0.5/v?user=a&pin=SESAME",
        "http://10.0.0.5/v?usuario=a&senha=SESAME",
        "http://10.0.0.5/v?contrasena=SESAME&wachtwoord=SESAME",
        "http://10.0.0.5/v?login=admin:SESAME",
        "http://10.0.0.5/v?user=admin%3ASESAME&x=1",
        "rtmp://10.0.0.5/app/s?md5=SESAME&expires=1",
        "rtsp://10.0.0.5/password:SESAME/1",
        "rtsp://10.0.0.5/user/admin/password/SESAME",
        "rtsp://10.0.0.5/user_admin_password_SESAME_channel_1",
    ],
)
def test_no_password_is_told_however_its_url_is_broken(url):
    for text in (url, f"{url}: refused", f"from '{url}' to rtsp://a:b@h/1", f"a\n{url}\nb"):
        assert "SESAME" not in redact(text)
    assert "10.0.0.5" in redact(url)
    moved, variables = hide_passwords(["stream", url, f"--to={url}"])
    assert "SESAME" not in str(moved) and variables
    try:
        camera_of(url=url)
    except UsageError as exc:
        assert "SESAME" not in str(exc) and "percent-encode" in str(exc)


@pytest.mark.parametrize(
    "url",
    [
        "rtsp:/admin:SESAME@10.0.0.5/1",
        "rtsp:admin:SESAME@10.0.0.5/1",
        "rtsp//admin:SESAME@10.0.0.5/1",
        "//admin:SESAME@10.0.0.5/1",
        "admin:SESAME@10.0.0.5/1",
        "admin:a@SESAME@10.0.0.5/1",
        "v4l2:admin:SESAME@10.0.0.5/1",
        "rtsp\uff1a//admin:SESAME@10.0.0.5/1",
        "rtsp://admin\uff1aSESAME@10.0.0.5/1",
        "rtsp://admin:SESAME\uff2010.0.0.5/1",
        "rtsp:\uff0f\uff0fadmin:SESAME@10.0.0.5/1",
        "rtsp://admin:a\nSESAME@10.0.0.5/1",
        "http://10.0.0.5/v?password=a SESAME&channel=1",
        "http://10.0.0.5/v?password=a'SESAME&channel=1",
        'http://10.0.0.5/v?password=a"SESAME&channel=1',
    ],
)
def test_a_broken_url_is_refused_and_its_password_hidden(url):
    """Check that it is not read as a file or folder: messages would then show its password."""
    for change in ({"url": url}, {"url": f"file:{url}"}, {"to": (url,)}):
        with pytest.raises(UsageError) as refused:
            camera_of(**change)
        assert "SESAME" not in str(refused.value)
    moved, variables = hide_passwords(["stream", url, f"--to={url}"])
    assert "SESAME" not in str(moved) and variables


@pytest.mark.parametrize(
    "folder", ["rec/yard", "/srv/rec @home/x", "C:\\rec\\a@b", "D:/rec/a@b", "o'neil", "a:b"]
)
def test_folders_are_taken_whatever_their_names(folder):
    camera_of(to=(folder,))


@pytest.mark.parametrize(
    "text",
    [
        *(
            "max_delay_seconds=3, stop=1",
            "rtsp://user@h/1",
            "http://h/clip=2?fps=3",
            "http://h/?codec=h264",
        ),
        *("wrong user or password; correct them", "[console] token: Field required", "at\uff1a12"),
    ],
)
def test_text_that_is_no_secret_is_not_redacted(text):
    assert redact(text) == text


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://admin:p@ss:w/rd@h/1",
        "rtsp://admin:pa ss@h/1",
        "rtsp://admin:a/b@h/1",
        "rtsp://admin:${PASSWORD}#@h/1",
    ],
)
def test_a_url_that_its_password_breaks_is_refused_with_advice(url):
    for change in ({"url": url}, {"to": (url,)}):
        with pytest.raises(UsageError, match="percent-encode"):
            camera_of(**change)


@pytest.mark.parametrize(
    "url",
    [
        "http://h:8080/a@b",
        "rtsp://u:${file:/etc/gate}@h/1",
        "rtsp://u:p%2Fss@h/1",
        "rtsp://u:p:q@h",
        "rtsp://u:it's@h/1",
        "file:my clip@home.mp4",
    ],
)
def test_a_url_that_means_something_is_taken(url):
    camera_of(url=url)


def test_passwords_in_arguments_that_break_a_url_are_moved_with_it():
    moved, variables = hide_passwords(["stream", "rtsp://admin:1234/abc@h/1"])
    assert moved == ["stream", "${STREAMKIND_SECRET_1}"]
    assert variables == {"STREAMKIND_SECRET_1": "rtsp://admin:1234/abc@h/1"}
