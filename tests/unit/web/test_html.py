"""HTML from what others wrote: nothing of theirs becomes markup."""

from html import unescape
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from edged.web.html import Html, clean, h, join


def test_text_and_attributes_are_escaped_and_markup_of_ours_is_not() -> None:
    made = h("p", "<b>&", h("i", '"'), title='"><script>')
    assert made == '<p title="&quot;&gt;&lt;script&gt;">&lt;b&gt;&amp;<i>&quot;</i></p>'


def test_attributes_that_are_off_are_left_out_and_names_are_written_with_dashes() -> None:
    assert h("p", aria_label="x", hidden=True, class_="c", id=None, open=False) == (
        '<p aria-label="x" hidden class="c"></p>'
    )
    assert h("meta", charset="utf-8") == '<meta charset="utf-8">'


def test_children_may_be_nested_or_nothing() -> None:
    assert join(["a", None, [Html("<br>"), ["b"]]]) == "a<br>b"


def test_signs_that_hide_or_turn_text_around_are_dropped() -> None:
    assert clean("node\u202e2\x00\x1b[31m\ud800\u200b") == "node2[31m"
    assert clean("한글 ‒ ✓ 🚨") == "한글 ‒ ✓ 🚨"


class _Texts(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert [name for name, _ in attrs] == ["title"]


@given(st.text())
def test_no_text_opens_a_tag(text: str) -> None:
    parser = _Texts()
    parser.feed(h("p", text, title=text))
    assert parser.tags == ["p"]
    kept = iter(text)
    assert all(sign in kept for sign in unescape(clean(text)))
