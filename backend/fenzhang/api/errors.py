"""What is wrong with a request as HTTP, before anybody looks at what it asks for."""

from __future__ import annotations

from typing import ClassVar

from fenzhang.domain.errors import FenzhangError, InvalidInput


class MalformedJson(FenzhangError):
    """The body is not JSON."""

    code = "malformed_json"


class BodyTooLarge(FenzhangError):
    """The body is larger than the limit."""

    code = "body_too_large"


class UnsupportedMediaType(FenzhangError):
    """The body is of another media type than the endpoint takes."""

    code = "unsupported_media_type"


class Overloaded(FenzhangError):
    """More than this process takes on now; the same request is welcome after `Retry-After`. Nothing was stored."""

    code = "overloaded"
    retry_after_s: ClassVar[int] = 1


class TooManyRequests(Overloaded):
    """Too many requests are under way in this process."""

    code = "too_many_requests"


class QueueFull(Overloaded):
    """Too many instructions wait for their outcome."""

    code = "queue_full"
    retry_after_s = 2


class TooManyFiles(Overloaded):
    """Too many files of the platform wait for their turn."""

    code = "too_many_files"
    retry_after_s = 5


class InvalidToken(FenzhangError):
    """There is no access token, or it is not valid (any more)."""

    code = "invalid_token"


class InvalidClient(FenzhangError):
    """The client id or secret is wrong."""

    code = "invalid_client"


class InvalidTokenRequest(FenzhangError):
    """The token request is malformed, or asks for what is not on offer; `code` is as OAuth2 names it."""

    code = "invalid_request"


class UnsupportedGrantType(InvalidTokenRequest):
    """Only client_credentials is on offer."""

    code = "unsupported_grant_type"


class InvalidScope(InvalidTokenRequest):
    """The app does not have a scope that it asks for."""

    code = "invalid_scope"


class InsufficientScope(FenzhangError):
    """The app may not do this."""

    code = "insufficient_scope"


class NoSuchEndpoint(FenzhangError):
    """No endpoint has this path."""

    code = "unknown_endpoint"


class MethodNotAllowed(FenzhangError):
    """The endpoint has no such method."""

    code = "method_not_allowed"


class RequestInvalid(FenzhangError):
    """The request does not fit the endpoint's schema. `errors` names the fields; the code is the first one's."""

    code = "invalid_input"

    def __init__(self, errors: list[dict[str, str]]) -> None:
        first = errors[0]
        super().__init__(f"{first['field']}: {first['message']}", field=first["field"])
        self.errors = errors
        self.first_code = first["code"]


class InvalidAccount(InvalidInput):
    """There is no such account: some kinds have one per participant, the others one per currency."""

    code = "invalid_account"
