"""The numbers that ``check-config`` prints are those of the design, and can be checked by hand."""

from pathlib import Path

import pytest

from edged.config.summary import (
    Detection,
    expect_false_removals,
    format_rate,
    render_summary,
    summarize,
    worst_detection,
)
from edged.config.types import ProbeConfig
from tests.unit.config.files import WELL, load_text


def probe(tmp_path: Path, lines: str = "") -> ProbeConfig:
    return load_text(tmp_path, f"{WELL}{lines}\n").config.vips[0].probe


@pytest.mark.parametrize(
    ("lines", "detection"),
    [
        ('profile = "default"', Detection(refused_ms=27, silent_ms=350, ill_ms=650)),
        ('profile = "fast"', Detection(refused_ms=27, silent_ms=125, ill_ms=365)),
        ('profile = "calm"', Detection(refused_ms=27, silent_ms=900, ill_ms=1_400)),
        ('heartbeat = "off"', Detection(refused_ms=1_055, silent_ms=1_450, ill_ms=1_750)),
        ('heartbeat_interval = "50ms"', Detection(refused_ms=27, silent_ms=300, ill_ms=600)),
    ],
)
def test_the_worst_times_follow_the_numbers(
    tmp_path: Path, lines: str, detection: Detection
) -> None:
    assert worst_detection(probe(tmp_path, lines)) == detection


def test_silence_by_loss_takes_a_missed_beat_and_three_syns(tmp_path: Path) -> None:
    """By hand: 3.2e8 beats and 3.2e7 probes a year, each followed by four losses of 0.2 %."""
    found = expect_false_removals(probe(tmp_path), loss=0.001)
    assert found.silent_per_year == pytest.approx((3.156e8 + 3.156e7) * 0.002**4, rel=0.01)


def test_without_beats_the_routine_probe_is_the_first_of_three(tmp_path: Path) -> None:
    found = expect_false_removals(probe(tmp_path, 'heartbeat = "off"'), loss=0.001)
    assert found.silent_per_year == pytest.approx(3.156e7 * 0.002**3, rel=0.01)


def test_above_half_a_per_cent_a_fourth_syn_is_needed(tmp_path: Path) -> None:
    found = expect_false_removals(probe(tmp_path), loss=0.01)
    assert found.silent_per_year == pytest.approx((3.156e8 + 3.156e7) * 0.0199**5, rel=0.01)


def test_a_short_deadline_does_not_survive_any_lost_packet(tmp_path: Path) -> None:
    """200 ms is what TCP waits before it repeats one; at 0.1 ‰ three exchanges fail by 0.6 ‰."""
    short = expect_false_removals(probe(tmp_path, 'timeout = "219ms"'), loss=0.0001)
    longer = expect_false_removals(probe(tmp_path, 'timeout = "220ms"'), loss=0.0001)
    assert short.ill_per_year / longer.ill_per_year == pytest.approx(3**4, rel=0.01)


@pytest.mark.parametrize("profile", ["default", "fast", "calm"])
def test_every_profile_keeps_the_promise_at_a_thousandth(tmp_path: Path, profile: str) -> None:
    found = expect_false_removals(probe(tmp_path, f'profile = "{profile}"'), loss=0.001)
    assert found.per_year < 1


def test_no_loss_removes_nobody(tmp_path: Path) -> None:
    assert expect_false_removals(probe(tmp_path), loss=0).per_year == 0


def test_total_loss_is_a_removal_for_each_trigger(tmp_path: Path) -> None:
    found = expect_false_removals(probe(tmp_path, 'heartbeat = "off"'), loss=1)
    assert found.silent_per_year == pytest.approx(3.156e7, rel=0.01)


def test_the_summary_reads_well(tmp_path: Path) -> None:
    text = render_summary(summarize(load_text(tmp_path, WELL).config))
    assert text == (
        "VIP web (profile default)\n"
        "  a gateway that dies is noticed within\n"
        "        27ms  refused: Envoy is gone, the node answers\n"
        "       350ms  silent: no packet comes back\n"
        "       650ms  ill: it accepts and does not serve\n"
        "  a live gateway is taken out by mistake, with packets lost at random each way\n"
        "    less than once a century  at 0.01% loss\n"
        "    less than once a century  at 0.10% loss\n"
        "            1.1 times a year  at 1.00% loss\n"
        "Kept by the floor, or several at once: one ping of the router more, up to 2s. "
        "Loss in bursts is not in these sums."
    )


@pytest.mark.parametrize(
    ("per_year", "words"),
    [
        (0.0, "less than once a century"),
        (0.0099, "less than once a century"),
        (0.01, "once in 100 years"),
        (0.5, "once in 2 years"),
        (1.0, "1.0 times a year"),
        (9.96, "10.0 times a year"),
        (12_345.6, "12,346 times a year"),
    ],
)
def test_a_rate_is_said_in_words(per_year: float, words: str) -> None:
    assert format_rate(per_year) == words
