"""The exception tree: what may be done next decides the class.

A gateway's fault is a value (`ProbeResult`), a partner's fault one of these, a bug an assertion.
"""


class EdgedError(Exception):
    """Anything edged raises on purpose; its text is one sentence for a person."""


class ConfigError(EdgedError):
    """The configuration cannot be used; names the key, what was found and what is allowed."""


class RouterError(EdgedError):
    """The router did not do what was asked."""


class RouterUnreachable(RouterError):
    """Nothing was sent: safe to try again."""


class RouterLoginRefused(RouterUnreachable):
    """The router refused the credentials, or the pin did not match: nothing was sent after it."""


class RouterRefused(RouterError):
    """The router answered `!trap`: do not repeat the same command at once; the session stays."""


class RouterUncertain(RouterError):
    """Sent, unanswered: read before any write. The connection has been dropped."""


class RouterProtocolError(RouterUncertain):
    """The answer cannot be decoded: as uncertain, and the connection has been dropped."""


class StoreError(EdgedError):
    """The state file cannot be used; routing goes on without it."""


class CommandRefused(EdgedError):
    """A person's command cannot be carried out; the text says why and what to do."""
