"""What the API answered with instead of doing it, or that it did not answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fenzhang.domain.errors import FenzhangError


class ApiUnreachable(FenzhangError):
    """The API did not answer, or answered that it cannot now, until patience ran out. Repeating is safe."""

    code = "api_unreachable"


class UnexpectedAnswer(FenzhangError):
    """Something answered that is not the API, or an API of another version."""

    code = "unexpected_answer"


class WrongNetwork(FenzhangError):
    """The API belongs to another chain or other contracts than the client was told; nothing was signed for it."""

    code = "wrong_network"


class WaitTimeout(FenzhangError):
    """Something is still undecided after the time that the caller allowed."""

    code = "wait_timeout"


class ApiError(FenzhangError):
    """The API refused. `code` and `message` are those of its problem document, `status` is HTTP's.

    `values` has what the document names by name, the offending `field` and the list of `errors` included.
    """

    def __init__(self, status: int, code: str, message: str, values: Mapping[str, Any] | None = None) -> None:
        super().__init__(message, **(values or {}))
        self.status = status
        # The class says which kind of refusal it is, the instance which one: the API's own stable code.
        self.code = code  # type: ignore[misc]  # a ClassVar of the base; the server decides it here


class InvalidRequest(ApiError):
    """400, 413 or 422: malformed whatever the state of the world."""


class Unauthenticated(ApiError):
    """401: no such app, a wrong secret, or a token that is no longer good."""


class Forbidden(ApiError):
    """403: the app may not do this."""


class NotFound(ApiError):
    """404: what the request names does not exist, or belongs to somebody else."""


class Conflict(ApiError):
    """409: well formed, but what is already known forbids it."""


class ServerFailed(ApiError):
    """500: a fault of the API. What was asked may be done or not; repeating a write is safe."""


_BY_STATUS: dict[int, type[ApiError]] = {
    400: InvalidRequest,
    413: InvalidRequest,
    422: InvalidRequest,
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
}
_SERVER_ERROR = 500


def api_error(status: int, problem: Mapping[str, Any]) -> ApiError:
    """The error that a problem document (RFC 9457) stands for."""
    kind = _BY_STATUS.get(status, ServerFailed if status >= _SERVER_ERROR else ApiError)
    code = str(problem.get("code") or f"http_{status}")
    message = str(problem.get("detail") or problem.get("title") or f"HTTP {status}")
    values = dict(problem["values"]) if isinstance(problem.get("values"), dict) else {}
    values |= {name: problem[name] for name in ("field", "errors") if name in problem}
    return kind(status, code, message, values)
