"""Cards as nvidia-smi reports them. A shell script replaces nvidia-smi."""

from functools import partial

import pytest
from support.machines import put_nvidia_smi

from streamkind.backends import cards
from streamkind.backends.cards import Card, find_cards, first_card
from streamkind.errors import EngineError


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch):
    """Return a function that installs a shell script as nvidia-smi."""
    return partial(put_nvidia_smi, monkeypatch, tmp_path)


def test_cards_are_read_in_their_order(nvidia_smi):
    nvidia_smi(
        "echo '8.9, NVIDIA GeForce RTX 4090, 580.1, 00000000:01:00.0'\n"
        "echo '12.0, NVIDIA GeForce RTX 5090, 580.1, 00000000:0A:00.0'"
    )
    first, second = find_cards()
    assert first == Card("sm_89", "NVIDIA GeForce RTX 4090", "580.1", True, "00000000:01:00.0")
    assert (second.sm, second.place) == ("sm_120", "00000000:0a:00.0")
    assert first_card() == first


def test_nvidia_smi_is_asked_until_it_shows_a_card(nvidia_smi, tmp_path):
    asked = tmp_path / "asked"
    nvidia_smi(f"echo x >> {asked}; exit 9")
    assert find_cards() == find_cards() == []
    nvidia_smi(f"echo x >> {asked}; echo '8.9, a card, 580.1, 00000000:01:00.0'")
    card = Card("sm_89", "a card", "580.1", True, "00000000:01:00.0")
    assert find_cards() == find_cards() == [card]
    assert len(asked.read_text().split()) == 3


@pytest.mark.parametrize(
    "script",
    [
        "echo '[N/A], Orin (nvgpu), 540.4.0, [N/A]'",  # a Jetson
        "echo 'NVIDIA-SMI has failed because it could not communicate with the driver'; exit 9",
        "echo '8.9, a card, 580.1, 00000000:01:00.0'; exit 15",
        "true",
    ],
)
def test_a_device_name_without_a_card_gives_none(nvidia_smi, script):
    nvidia_smi(script)
    assert find_cards() == []
    with pytest.raises(EngineError, match=r"no NVIDIA card is found here.*--gpu sm_89"):
        first_card()


def test_a_driver_that_hangs_is_said_and_is_no_card(nvidia_smi, monkeypatch, caplog):
    monkeypatch.setattr(cards, "ANSWER_SECONDS", 0.2)
    nvidia_smi("exec sleep 60")
    assert find_cards() == []
    assert "nvidia-smi does not answer" in caplog.text
