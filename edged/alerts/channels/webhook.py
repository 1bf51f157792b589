"""The generic webhook: a CloudEvent, signed as Standard Webhooks have it.

`webhook-id` stays the same over retries, so a receiver can drop doubles; with two secrets there
are two signatures, so that one can be replaced without a gap.

Source: CloudEvents 1.0.2 (structured mode); Standard Webhooks 1.0, "symmetric signatures".
"""

import base64
import binascii
import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Final

from edged.alerts.channels.base import Endpoint, Request, Service, judge
from edged.alerts.texts.message import Message

PREFIX: Final = "whsec_"
BODY_MAX: Final = 64 * 1024


def write(message: Message, endpoint: Endpoint, now: datetime) -> Request:
    """Write a message: the exact bytes that are signed."""
    body = json.dumps(document_of(message, endpoint.host), ensure_ascii=False).encode()
    stamp = str(int(now.timestamp()))
    headers = {
        "Content-Type": "application/cloudevents+json; charset=utf-8",
        "webhook-id": message.message_id,
        "webhook-timestamp": stamp,
    }
    if endpoint.secrets:
        headers["webhook-signature"] = " ".join(
            sign(secret, message.message_id, stamp, body) for secret in endpoint.secrets
        )
    return Request(url=endpoint.url, body=body, headers=headers)


def document_of(message: Message, host: str) -> dict[str, object]:
    """Return the CloudEvent; names of its extensions are lower-case letters and digits only."""
    return {
        "specversion": "1.0",
        "id": message.message_id,
        "source": f"//edged/{host}",
        "type": f"io.edged.alert.{message.step}.v1",
        "subject": message.subject,
        "time": message.at.astimezone(UTC)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "incident": message.incident,
        "severity": str(message.severity),
        "data": {
            "incident": message.incident,
            "kind": message.kind,
            "step": message.step,
            "severity": str(message.severity),
            "resolved": message.over,
            "opened": message.opened.astimezone(UTC)
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z"),
            "title": message.title,
            "lines": [{"label": line.label, "text": line.text} for line in message.lines],
            "text": message.text,
            "link": message.link,
        },
    }


def sign(secret: str, message_id: str, stamp: str, body: bytes) -> str:
    """Return one `v1` signature over `id.timestamp.body`."""
    signed = b".".join((message_id.encode(), stamp.encode(), body))
    mac = hmac.new(key_of(secret), signed, hashlib.sha256).digest()
    return "v1," + base64.b64encode(mac).decode()


def key_of(secret: str) -> bytes:
    """Return the key in a secret: base64 after `whsec_`, else its own bytes."""
    if secret.startswith(PREFIX):
        try:
            return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
        except (binascii.Error, ValueError):
            pass
    return secret.encode()


SERVICE: Final = Service(write=write, judge=judge)
