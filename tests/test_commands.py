"""Commands in documents, images, units and workflows are accepted by the command line."""

from __future__ import annotations

import configparser
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml
from parts.pages import public_pages
from write_cli_docs import settings_table

from streamkind import __version__
from streamkind.cli.app import app
from streamkind.live.config import read_config

ROOT = Path(__file__).parents[1]
PLACES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs" / "docker").iterdir()),
    *sorted((ROOT / "docs").glob("*.yaml")),
    *sorted((ROOT / "docs").glob("*.service")),
]
BLOCK = re.compile(r"^```(?:console|sh|yaml|ini|toml)\n(.*?)^```", re.DOTALL | re.MULTILINE)
RUN = re.compile(
    r"""(?:^|[/\s"'])streamkind(?::[\w.]+)?    # the program, or the image's name and tag
    \s+((?:enhance|batch|app|stream|serve|track|plot|score|bench|doctor|engines)\b.*)""",
    re.VERBOSE,
)
"""Pattern of a command line within a line of text."""


def lines_of(path: Path) -> list[str]:
    """Return the lines of a file that are commands. Lines that end in a backslash are joined."""
    text = path.read_text(encoding="utf-8")
    if path.name == "compose.yaml":
        services = yaml.safe_load(text)["services"]
        return [f"streamkind {shlex.join(services['streamkind']['command'])}"]
    if path.suffix == ".md":
        text = "\n".join(BLOCK.findall(text))
    lines = re.sub(r" \\\n[# ]*", " ", text).splitlines()
    return [line.removeprefix("ExecStart=").lstrip("#$ ") for line in lines]


def commands() -> list[tuple[str, str]]:
    """Return the file name and the arguments of every command."""
    found = []
    for path in PLACES:
        for line in lines_of(path):
            if match := RUN.search(line):
                found.append((path.name, re.split(r"\s+#|\s[|&]", match[1])[0]))
    return found


def parse(line: str) -> None:
    """Parse a command line as the program does; raise an exception if it is wrong."""
    words = shlex.split(line)
    command, context = typer.main.get_command(app), None
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    command.make_context(line, words, parent=context)


@pytest.mark.parametrize(("place", "line"), commands())
def test_a_documented_command_is_one_that_there_is(place, line):
    parse(line)


INLINE = re.compile(r"`(?:(streamkind)|make) ([^`]+)`")
"""Pattern of a command within a sentence, which may lack its arguments."""


def mistake_in(program: str, words: list[str]) -> str | None:
    """Return the first unknown word of a command in a sentence, or None."""
    if not program:
        makefile = (ROOT / "Makefile").read_text()
        return None if re.search(rf"^{words[0]}:", makefile, re.MULTILINE) else words[0]
    command = typer.main.get_command(app)
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
    known |= {"--help"} if not hasattr(command, "commands") else {"--help", "COMMAND"}
    named = words if hasattr(command, "commands") else [w for w in words if w.startswith("--")]
    return next((word for word in named if word not in known), None)


@pytest.mark.parametrize("path", public_pages(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_command_in_a_sentence_is_one_that_there_is(path):
    text = path.read_text(encoding="utf-8")
    found = [(line, mistake_in(program, line.split())) for program, line in INLINE.findall(text)]
    assert [line for line, mistake in found if mistake] == []


@pytest.mark.parametrize(
    ("line", "mistake"),
    [
        ("streamkind enhance a b --two-pass", None),
        ("streamkind engines", None),
        ("streamkind --version", None),
        ("streamkind engines export --single", None),
        ("streamkind enhance --two-passes", "--two-passes"),
        ("streamkind improve a b", "improve"),
        ("streamkind engines make", "make"),
        ("make test", None),
        ("make tests", "tests"),
    ],
)
def test_a_mistake_in_an_inline_command_is_found(line, mistake):
    ((program, words),) = INLINE.findall(f"`{line}`")
    assert mistake_in(program, words.split()) == mistake


def test_commands_are_found_in_every_kind_of_place():
    places = {name for name, _ in commands()}
    expected = {"README.md", "live.md", "cpu.Dockerfile", "tensorrt.Dockerfile", "compose.yaml"}
    assert expected | {"cluster.yaml", "kuberay.yaml", "streamkind.service"} <= places


@pytest.mark.parametrize(
    "line", ["enhance night.mp4", "enhance a b --nope 1", "serve", "engines build --size"]
)
def test_a_command_that_there_is_not_is_reported(line):
    with pytest.raises(Exception, match=r"[Mm]issing|No such option|requires an argument"):
        parse(line)


def test_the_workflow_passes_the_linter():
    zizmor = Path(sys.executable).with_name("zizmor")
    words = [zizmor, "--offline", "--no-progress", "--persona=pedantic", ROOT / ".github"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "docker").iterdir()), ids=lambda p: p.stem)
def test_an_image_is_not_root_and_fetches_nothing_at_start(path):
    steps = [line for line in path.read_text().splitlines() if re.match("[A-Z]+ ", line)]
    assert [s for s in steps if s.startswith("USER")] == ["USER streamkind"]
    assert 'ENTRYPOINT ["streamkind"]' in steps
    assert any(step.startswith("HEALTHCHECK") for step in steps)
    for step in steps:
        if step.startswith("COPY"):
            assert step.split()[1] == "." or list(ROOT.glob(step.split()[1])), step


def blocks_of(name: str, language: str) -> list[str]:
    text = (ROOT / "docs" / name).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("place", ["recipes.md", "live.md"])
def test_documented_cameras_are_such_as_serve_takes(tmp_path, place):
    for text in blocks_of(place, "toml"):
        (tmp_path / "cameras.toml").write_text(text)
        cameras, _ = read_config(tmp_path / "cameras.toml")
        assert cameras


def test_recipes_name_the_streams_that_they_define(tmp_path):
    go2rtc, frigate, addon = map(yaml.safe_load, blocks_of("recipes.md", "yaml"))
    (tmp_path / "cameras.toml").write_text(blocks_of("recipes.md", "toml")[0])
    (camera,) = read_config(tmp_path / "cameras.toml")[0].values()
    assert {url.rpartition("/")[2] for url in (camera.url, *camera.to)} == set(go2rtc["streams"])
    assert frigate["go2rtc"] == go2rtc
    inputs = [i for c in frigate["cameras"].values() for i in c["ffmpeg"]["inputs"]]
    assert [i["path"] for i in inputs] == list(camera.to)
    for camera in frigate["cameras"].values():  # roles are off unless they are enabled
        assert all(
            camera[role]["enabled"] for i in camera["ffmpeg"]["inputs"] for role in i["roles"]
        )
    assert {"name", "version", "slug", "description", "arch"} <= addon.keys()  # the required keys
    assert addon["version"] == __version__


def test_the_ports_that_viewers_of_mediamtx_use_are_published():
    text = (ROOT / "docs" / "recipes.md").read_text()
    (section,) = re.findall(r"^## MediaMTX\n(.*?)^## ", text, re.DOTALL | re.MULTILINE)
    compose = yaml.safe_load((ROOT / "docs" / "compose.yaml").read_text())
    media = compose["services"]["mediamtx"]
    published = {port.partition(":")[0] for port in media["ports"]}
    named = set(re.findall(r"\b8\d{3}\b", section))
    assert len(named) == 4 and named | {"8189"} == published  # 8189 carries the video of WebRTC
    assert set(re.findall(r"MTX_\w+", section)) < set(media["environment"])


def test_the_documented_timer_of_systemd_can_be_enabled():
    texts = blocks_of("recipes.md", "ini")
    service, timer = (configparser.ConfigParser() for _ in texts)
    for unit, text in zip((service, timer), texts, strict=True):
        unit.read_string(text)
    assert service["Service"]["Type"] == "oneshot"
    assert timer["Install"]["WantedBy"] == "timers.target"
    named = re.findall(r"streamkind-batch\.\w+", (ROOT / "docs" / "recipes.md").read_text())
    assert named == [f"streamkind-batch.{kind}" for kind in ("service", "timer", "timer")]


def test_the_documented_settings_of_cameras_are_those_that_are_read():
    assert settings_table() in (ROOT / "docs" / "live.md").read_text(), "tools/write_cli_docs.py"
