"""What people and machines may read of a secret: nothing, and of a URL not enough to use it."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edged.system.redaction import HIDDEN, SECRET_CHARACTERS_MIN, Redactor, cut_url


@pytest.mark.parametrize(
    ("url", "cut"),
    [
        (
            "https://hooks.example.test/services/T00/B00/tokenABCD",
            "https://hooks.example.test/…ABCD",
        ),
        ("https://hook.example.test/s3cret", "https://hook.example.test/…"),
        ("https://user:pass@router.example.test:8729/", "https://router.example.test:8729/"),
        ("https://user:p/ss@router.example.test/", "https://router.example.test/"),
        ("http://[::1]:80/a@b/0123456789abcdef", "http://[::1]:80/…cdef"),
        ("https://bot.example.test?token=0123456789abcdef", "https://bot.example.test/…cdef"),
        ("http://127.0.0.1:9780", "http://127.0.0.1:9780"),
        ("posted to https://a.example.test/1234567890/1234567890, twice", None),
    ],
)
def test_a_url_keeps_its_host_and_four_characters(url: str, cut: str | None) -> None:
    if cut is None:
        cut = "posted to https://a.example.test/…890, twice"
    assert cut_url(url) == cut


def test_a_registered_secret_is_hidden_wherever_it_stands() -> None:
    redactor = Redactor()
    redactor.hide("pa ss/wörd")
    hidden = redactor.value(
        {
            "text": "login with pa ss/wörd failed",
            "list": ["pa ss/wörd", 7],
            "query": "?password=pa%20ss%2Fw%C3%B6rd",
            "repr": r"'pa ss/w\xf6rd'",
        },
    )
    assert hidden == {
        "text": f"login with {HIDDEN} failed",
        "list": [HIDDEN, 7],
        "query": f"?password={HIDDEN}",
        "repr": f"'{HIDDEN}'",
    }


def test_a_very_short_secret_is_hidden_only_as_a_whole() -> None:
    redactor = Redactor()
    redactor.hide("abc")
    assert redactor.text("abc") == HIDDEN
    assert redactor.text("abcdef") == "abcdef"


def test_an_empty_secret_hides_nothing() -> None:
    redactor = Redactor()
    redactor.hide("")
    assert redactor.text("") == ""
    assert redactor.text("all is well") == "all is well"


def test_a_value_of_any_type_is_shown_as_redacted_text() -> None:
    redactor = Redactor()
    redactor.hide("hunter2")
    assert redactor.value(ValueError("bad: hunter2")) == f"bad: {HIDDEN}"
    assert redactor.value(None) is None
    assert redactor.value(3) == 3


@given(
    secrets=st.lists(st.text(min_size=SECRET_CHARACTERS_MIN, max_size=12), min_size=1, max_size=4),
    before=st.text(max_size=8),
    after=st.text(max_size=8),
)
def test_no_secret_survives_in_any_surroundings(
    secrets: list[str],
    before: str,
    after: str,
) -> None:
    redactor = Redactor()
    for secret in secrets:
        redactor.hide(secret)
    for secret in secrets:
        assume(secret not in HIDDEN and HIDDEN[0] not in secret)
        assert secret not in redactor.text(f"{before}{secret}{after}")
