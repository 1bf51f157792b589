"""Laws of messages: no service's limit is broken and nothing is cut in two, whatever the names."""

import json
from collections.abc import Callable
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from edged.alerts.channels import slack, telegram
from edged.alerts.channels.table import SERVICES
from edged.alerts.limits import Measure, characters, fit, utf8_bytes, utf16_units
from edged.alerts.texts.compose import compose
from edged.config.types import ChannelType, Language
from edged.core.alerting import AlertKind, AlertStep
from tests.support.alerts import ENDPOINT, HAPPENED, about, facts
from tests.support.chat import LIMITS, Taken

NOW = datetime(2026, 5, 1, 18, 20, tzinfo=UTC)

HANGUL = st.characters(min_codepoint=0xAC00, max_codepoint=0xD7A3)
EMOJI = st.sampled_from(["👩‍👩‍👧‍👦", "🚨", "🇰🇷", "é", "❤️", "\U0001f9d1\U0001f3fd", "\u200d"])
SIGNS = st.one_of(
    HANGUL,
    EMOJI,
    st.sampled_from(list("<>&\"'*_~`|[]()#@\\ \n\x00\x1b\u202e")),
    st.characters(exclude_categories=["Cs"]),
)
NAMES = st.lists(SIGNS, min_size=1, max_size=400).map("".join)


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(list(ChannelType)),
    language=st.sampled_from(list(Language)),
    step=st.sampled_from([AlertStep.OPEN, AlertStep.UPDATE, AlertStep.RESOLVE]),
    about_what=st.sampled_from([k for k in AlertKind if k is not AlertKind.NOTICE]),
    names=st.lists(NAMES, min_size=1, max_size=40),
    detail=NAMES,
)
def test_every_service_takes_every_message(
    kind: ChannelType,
    language: Language,
    step: AlertStep,
    about_what: AlertKind,
    names: list[str],
    detail: str,
) -> None:
    many = tuple(names)
    message = compose(
        facts(
            about_what,
            step,
            gateways=many,
            vips=many,
            routers=many,
            facts={"down": many, "in_route": many, "detail": detail * 20, "back": many},
        ),
        about(host=names[0]),
        language,
        now=HAPPENED,
    )
    request = SERVICES[kind].write(message, ENDPOINT, NOW)
    path = request.url.split("/", 3)[3].partition("?")[0]
    if kind is ChannelType.NTFY:
        path = ""
    if kind is ChannelType.TELEGRAM:
        path = path[path.index("bot") :]
    query = dict(
        pair.split("=", 1) for pair in request.url.partition("?")[2].split("&") if "=" in pair
    )
    taken = Taken(
        service=str(kind),
        path=path,
        query=query,
        headers={name.lower(): value for name, value in request.headers.items()},
        body=request.body,
    )
    check = LIMITS.get(str(kind))
    if check is not None:
        assert check(taken) == ""
    json.loads(request.body)


@given(
    text=NAMES,
    limit=st.integers(min_value=0, max_value=300),
    unit=st.sampled_from([characters, utf16_units, utf8_bytes]),
    escape=st.sampled_from([lambda text: text, slack.escape, telegram.escape]),
)
def test_a_cut_text_fits_its_unit_and_is_a_beginning(
    text: str, limit: int, unit: Measure, escape: Callable[[str], str]
) -> None:
    made = fit(text, limit, unit, escape)
    assert unit(made) <= limit
    made.encode("utf-8", "strict")
    if made != escape(text) and made:
        assert made.endswith("…")
        assert escape(text).startswith(made[:-1].rstrip()) or made[:-1] == ""
