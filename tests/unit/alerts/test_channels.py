"""Each service's writing, word by word, and what its answers mean."""

import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from edged.alerts.channels import googlechat, webhook
from edged.alerts.channels.base import Answer, Fate, Request
from edged.alerts.channels.table import SERVICES
from edged.alerts.texts.compose import compose
from edged.config.types import ChannelType, Language
from edged.core.alerting import AlertKind, AlertStep
from edged.core.events import Severity
from tests.support.alerts import ENDPOINT, GOLDEN, HAPPENED, about, facts

NOW = HAPPENED + timedelta(milliseconds=252_000)
KINDS = list(ChannelType)


def written(
    kind: ChannelType,
    step: AlertStep = AlertStep.OPEN,
    language: Language = Language.ENGLISH,
    **changes: Any,  # noqa: ANN401 - fields of AlertFacts
) -> Request:
    given = facts(step=step, **changes)
    surroundings = about(public_url="https://edged.example.test")
    message = compose(given, surroundings, language, now=given.at)
    return SERVICES[kind].write(message, ENDPOINT, NOW)


@pytest.mark.parametrize("step", [AlertStep.OPEN, AlertStep.RESOLVE])
@pytest.mark.parametrize("language", list(Language))
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_sent_is_what_was_looked_at(
    kind: ChannelType, language: Language, step: AlertStep
) -> None:
    """The golden files were read by eye; EDGED_GOLDEN=1 writes them anew."""
    request = written(kind, step, language)
    shown = {
        "url": request.url,
        "headers": dict(sorted(request.headers.items())),
        "body": json.loads(request.body),
    }
    text = json.dumps(shown, ensure_ascii=False, indent=1) + "\n"
    path = GOLDEN / f"{kind}-{language}-{step}.json"
    if os.environ.get("EDGED_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text


def test_no_golden_file_is_left_over() -> None:
    wanted = {f"{k}-{x}-{s}.json" for k in KINDS for x in Language for s in ("open", "resolve")}
    assert {path.name for path in GOLDEN.iterdir()} == wanted


HOSTILE = "<!channel> @everyone @channel <users/all> <b>&amp; [x](https://evil.test) [[x]](y) *_~`"


@pytest.mark.parametrize(
    ("kind", "forbidden"),
    [
        (ChannelType.SLACK, ("<!channel>", "<b>")),
        (ChannelType.DISCORD, ("[x](https",)),
        (ChannelType.TELEGRAM, ("<!channel>", "&amp;amp; <", "<users")),
        (ChannelType.TEAMS, ("[x](https",)),
        (ChannelType.MATTERMOST, ("@channel", "@everyone", "[x](https")),
        (ChannelType.JANDI, ("[[x]](y)", "[x](https")),
        (ChannelType.DOORAY, ("[x](https",)),
    ],
)
def test_markup_in_a_name_is_harmless(kind: ChannelType, forbidden: tuple[str, ...]) -> None:
    request = written(kind, gateways=(HOSTILE,))
    text = json.dumps(json.loads(request.body), ensure_ascii=False)
    for bad in forbidden:
        assert bad not in text


def test_google_chat_calls_nobody_outside_its_card() -> None:
    document = json.loads(written(ChannelType.GOOGLECHAT, gateways=(HOSTILE,)).body)
    assert "<" not in document["text"]
    assert "<users/all>" not in json.dumps(document["cardsV2"])
    assert googlechat.plain("<users/all>") == "‹users/all›"


def test_discord_mentions_nobody() -> None:
    document = json.loads(written(ChannelType.DISCORD).body)
    assert document["allowed_mentions"] == {"parse": []}


def test_telegram_keeps_its_tags_and_nothing_else() -> None:
    document = json.loads(written(ChannelType.TELEGRAM, gateways=(HOSTILE,)).body)
    assert document["text"].count("<") == 2
    assert "&lt;!channel&gt;" in document["text"]


def test_pagerduty_opens_and_resolves_by_one_key() -> None:
    opened = json.loads(written(ChannelType.PAGERDUTY).body)
    resolved = json.loads(written(ChannelType.PAGERDUTY, AlertStep.RESOLVE).body)
    assert opened["event_action"], resolved["event_action"] == ("trigger", "resolve")
    assert opened["dedup_key"] == resolved["dedup_key"] == "edged/mgmt-1/7k2"


def test_alertmanager_resolves_by_the_labels_it_opened_with() -> None:
    (opened,) = json.loads(written(ChannelType.ALERTMANAGER).body)
    (resolved,) = json.loads(written(ChannelType.ALERTMANAGER, AlertStep.RESOLVE).body)
    assert opened["labels"] == resolved["labels"]
    assert opened["endsAt"] > resolved["endsAt"] >= resolved["startsAt"]


def test_a_critical_one_is_urgent_where_a_service_knows_that() -> None:
    critical: Any = {"kind": AlertKind.NO_ANSWER, "severity": Severity.CRITICAL}
    request = SERVICES[ChannelType.MATTERMOST].write(
        compose(facts(**critical), about(), Language.ENGLISH, now=NOW), ENDPOINT, NOW
    )
    assert json.loads(request.body)["priority"] == {"priority": "urgent"}
    ntfy = SERVICES[ChannelType.NTFY].write(
        compose(facts(**critical), about(), Language.ENGLISH, now=NOW), ENDPOINT, NOW
    )
    assert json.loads(ntfy.body)["priority"] == 5


# --- the generic webhook ------------------------------------------------------------------------


def test_the_signature_is_the_published_one() -> None:
    """The vector of the Standard Webhooks specification."""
    signed = webhook.sign(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "1614265330",
        b'{"test": 2432232314}',
    )
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_two_secrets_sign_twice_and_the_signed_bytes_are_those_that_are_sent() -> None:
    secrets = ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_c2Vjb25kLXNlY3JldC1mb3ItcmQ=")
    message = compose(facts(), about(), Language.KOREAN, now=NOW)
    request = webhook.write(message, replace(ENDPOINT, secrets=secrets), NOW)
    stamp = request.headers["webhook-timestamp"]
    assert stamp == str(int(NOW.timestamp()))
    assert request.headers["webhook-signature"].split(" ") == [
        webhook.sign(secret, message.message_id, stamp, request.body) for secret in secrets
    ]


def test_the_body_is_a_cloud_event() -> None:
    document = json.loads(written(ChannelType.WEBHOOK).body)
    assert {"specversion", "id", "source", "type"} <= document.keys()
    assert all(name.isalnum() and name == name.lower() for name in document)
    assert document["id"] == "msg_p5jXN8AQM9LWM0D4loKWxJek"
    assert document["time"] == "2026-05-01T18:12:44.000Z"


# --- answers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("status", "fate"),
    [
        (200, Fate.DELIVERED),
        (202, Fate.DELIVERED),
        (204, Fate.DELIVERED),
        (301, Fate.RETRY),
        (307, Fate.RETRY),
        (400, Fate.REFUSED),
        (401, Fate.REFUSED),
        (404, Fate.REFUSED),
        (408, Fate.RETRY),
        (410, Fate.REFUSED),
        (413, Fate.TOO_LARGE),
        (425, Fate.RETRY),
        (429, Fate.RETRY),
        (500, Fate.RETRY),
        (503, Fate.RETRY),
    ],
)
def test_what_a_status_means(kind: ChannelType, status: int, fate: Fate) -> None:
    assert SERVICES[kind].judge(Answer(status=status), NOW).fate is fate


NOON = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("kind", "answer", "after_ms"),
    [
        (ChannelType.SLACK, Answer(status=429, headers={"retry-after": "7"}), 7_000),
        (
            ChannelType.WEBHOOK,
            Answer(status=503, headers={"retry-after": "Fri, 01 May 2026 12:01:00 GMT"}),
            60_000,
        ),
        (
            ChannelType.WEBHOOK,
            Answer(status=503, headers={"retry-after": "Fri, 01 May 2026 11:00:00 GMT"}),
            0,
        ),
        (ChannelType.SLACK, Answer(status=429, headers={"retry-after": "99999"}), 3_600_000),
        (ChannelType.SLACK, Answer(status=429, headers={"retry-after": "soon"}), None),
        (ChannelType.SLACK, Answer(status=429, headers={"retry-after": "nan"}), None),
        (ChannelType.DISCORD, Answer(status=429, body=b'{"retry_after": 1.337}'), 1_337),
        (ChannelType.DISCORD, Answer(status=429, headers={"retry-after": "2"}), 2_000),
        (
            ChannelType.TELEGRAM,
            Answer(status=429, body=b'{"ok":false,"parameters":{"retry_after":35}}'),
            35_000,
        ),
        (ChannelType.PAGERDUTY, Answer(status=429), 180_000),
        (ChannelType.DISCORD, Answer(status=429, body=b"<html>"), None),
    ],
)
def test_when_to_come_again_in_each_dialect(
    kind: ChannelType, answer: Answer, after_ms: int | None
) -> None:
    verdict = SERVICES[kind].judge(answer, NOON)
    assert (verdict.fate, verdict.after_ms) == (Fate.RETRY, after_ms)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (
            ChannelType.DOORAY,
            b'{"header":{"resultCode":-1,"resultMessage":"no hook","isSuccessful":false}}',
        ),
        (ChannelType.KAKAOWORK, b'{"success":false,"error":{"code":"invalid"}}'),
        (ChannelType.TELEGRAM, b'{"ok":false,"description":"Bad Request"}'),
    ],
)
def test_a_good_status_may_be_a_failure(kind: ChannelType, body: bytes) -> None:
    assert SERVICES[kind].judge(Answer(status=200, body=body), NOON).fate is Fate.REFUSED


def test_telegram_says_the_new_number_of_a_group() -> None:
    body = b'{"ok":false,"error_code":400,"parameters":{"migrate_to_chat_id":-1009}}'
    verdict = SERVICES[ChannelType.TELEGRAM].judge(Answer(status=400, body=body), NOON)
    assert (verdict.fate, verdict.moved_to, verdict.after_ms) == (Fate.RETRY, "-1009", 0)


def test_an_answer_is_shown_short_and_harmless() -> None:
    words = Answer(status=500, body=b"\x1b[31m\n" + b"x" * 5_000 + b"\xff").words
    assert words.isprintable()
    assert len(words) < 210


def test_secrets_show_in_no_representation() -> None:
    request = written(ChannelType.TELEGRAM)
    assert "token" not in repr(ENDPOINT)
    assert "token" not in repr(request)
