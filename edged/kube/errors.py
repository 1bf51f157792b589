"""What can go wrong with the API server; the class says what may be done next."""

from edged.core.errors import EdgedError


class KubeError(EdgedError):
    """The API server did not do what was asked: wait and try again."""


class CredentialsUnusable(KubeError):
    """There is no usable kubeconfig or service account; the text names what was looked at."""


class Unauthorized(KubeError):
    """HTTP 401: the credentials are read anew before the next request."""


class Forbidden(KubeError):
    """HTTP 403: a rule is missing; asking again soon is useless."""


class NotFound(KubeError):
    """HTTP 404: the object, or its whole kind, is not there."""


class Gone(KubeError):
    """HTTP 410, or `Expired` in a stream: that history is no longer kept, so list again."""


class Conflict(KubeError):
    """HTTP 409: somebody else wrote first."""


class Busy(KubeError):
    """HTTP 429 or 503 with a wish how long to wait."""

    def __init__(self, text: str, *, retry_after_ms: int) -> None:
        super().__init__(text)
        self.retry_after_ms = retry_after_ms
