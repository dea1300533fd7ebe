"""One conversation with the API: requests out, answers or errors back, a token that is renewed, safe repetition.

Every write carries the client's own reference, so a request whose answer was lost can be sent again: the API answers
the same. Repeated is what failed on the way or was answered with 429, 502, 503 or 504; never what was refused.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Generic, TypeVar

import httpx
import orjson

from fenzhang.client.errors import ApiError, ApiUnreachable, UnexpectedAnswer, api_error
from fenzhang.client.flow import Flow, Pause, Send
from fenzhang.domain.errors import InvalidInput

T = TypeVar("T")

_REPEATED_STATUSES = frozenset({429, 502, 503, 504})
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_UNAUTHENTICATED = 401
_OK = range(200, 300)
_TOKEN_MARGIN_S = 30.0
"""A token this close to its end is renewed first."""
_SHOWN_BODY = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How long and how often a request that got no proper answer is repeated."""

    patience_s: float = 30.0
    """Give up when the next attempt would begin later than this after the first."""
    first_pause_s: float = 0.1
    """Doubles with each attempt; each pause is drawn from between half of it and all of it."""
    longest_pause_s: float = 5.0
    timeout_s: float = 30.0
    """For one attempt, beyond what the request asks the API to wait."""

    def pause_s(self, attempt: int, retry_after_s: float, draw: Callable[[], float]) -> float:
        """Seconds before the attempt that follows number `attempt` (counted from 0)."""
        longest = min(self.longest_pause_s, self.first_pause_s * 2 ** min(attempt, 16))
        return float(max(longest * (0.5 + draw() / 2), retry_after_s))


@dataclass(frozen=True, slots=True)
class Credentials:
    """An app's client id and secret."""

    client_id: str
    client_secret: str = field(repr=False)


class Repeat(Enum):
    """When a request that got no proper answer is sent again."""

    ALWAYS = "always"
    IF_NEVER_SENT = "if never sent"
    """For the few writes that have no reference."""
    NEVER = "never"
    """For questions about this very moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[T]):
    """One request of the API, and how its answer is read."""

    method: str
    path: str
    read: Callable[[Any], T]
    query: Mapping[str, str | int | float] = field(default_factory=dict)
    body: Any = None
    stream: httpx.SyncByteStream | httpx.AsyncByteStream | None = None
    """In place of `body`: bytes that can be read again and again, described by `headers`."""
    headers: Mapping[str, str] = field(default_factory=dict)
    is_json: bool = True
    """Whether the answer is JSON; `read` is given its bytes otherwise."""
    wait_s: float = 0.0
    """How long the API may take on purpose, because it was asked to wait for a change."""
    public: bool = False
    """Sent without a token."""
    repeat: Repeat = Repeat.ALWAYS


class Session:
    """Turns calls into flows. Raises InvalidInput for a base URL that is none."""

    def __init__(
        self,
        base_url: str,
        credentials: Credentials | None,
        policy: RetryPolicy,
        *,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._base_url = _checked_url(base_url)
        self._credentials = credentials
        self._policy = policy
        self.clock = clock
        self._draw = draw
        self._token = ""
        self._token_ends = 0.0

    def perform(self, call: Call[T]) -> Flow[T]:
        """Send `call` until it is answered. Raises ApiError, ApiUnreachable, UnexpectedAnswer."""
        headers = {"Accept": "application/json" if call.is_json else "*/*", **call.headers}
        content = None
        if call.body is not None:
            content = orjson.dumps(call.body)
            headers["Content-Type"] = "application/json"
        renewed = False
        while True:
            if not call.public:
                yield from self._authenticate()
            if self._token:
                headers["Authorization"] = f"Bearer {self._token}"
            request = self._request(
                call.method, call.path, headers, content, wait_s=call.wait_s, query=call.query
            )
            if call.stream is not None:
                request.stream = call.stream
            response = yield from self._exchange(request, call.repeat)
            if response.status_code == _UNAUTHENTICATED and self._credentials is not None and not renewed:
                # The API may have been given another signing key, or the token may have just ended.
                self._token, renewed = "", True
                continue
            return _read(call.read, _answer(response) if call.is_json else _bytes_of(response))

    def _authenticate(self) -> Flow[None]:
        if self._credentials is None or (self._token and self.clock() < self._token_ends):
            return
        form = {
            "grant_type": "client_credentials",
            "client_id": self._credentials.client_id,
            "client_secret": self._credentials.client_secret,
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        content = str(httpx.QueryParams(form)).encode("ascii")
        request = self._request("POST", "/oauth/token", headers, content)
        asked = self.clock()
        answer = _answer((yield from self._exchange(request)))
        self._token = _read(lambda found: str(found["access_token"]), answer)
        lifetime_s = _read(lambda found: float(found["expires_in"]), answer)
        self._token_ends = asked + max(lifetime_s - _TOKEN_MARGIN_S, lifetime_s / 2)

    def _exchange(self, request: httpx.Request, repeat: Repeat = Repeat.ALWAYS) -> Flow[httpx.Response]:
        """Send one request, again if it got no proper answer."""
        began = self.clock()
        attempt = 0
        while True:
            outcome = yield Send(request)
            if isinstance(outcome, httpx.Response):
                if outcome.status_code not in _REPEATED_STATUSES:
                    return outcome
                trouble = f"answers HTTP {outcome.status_code}{_detail_of(outcome)}"
                retry_after_s = _retry_after(outcome)
            else:
                trouble = f"cannot be reached ({type(outcome).__name__})"
                retry_after_s = 0.0
            may_repeat = repeat is Repeat.ALWAYS or (
                repeat is Repeat.IF_NEVER_SENT and isinstance(outcome, _NEVER_SENT)
            )
            pause_s = self._policy.pause_s(attempt, retry_after_s, self._draw)
            if not may_repeat or self.clock() - began + pause_s > self._policy.patience_s:
                raise ApiUnreachable(f"{self._base_url} {trouble}", url=self._base_url, attempts=attempt + 1)
            yield Pause(pause_s)
            attempt += 1

    def _request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        content: bytes | None,
        *,
        wait_s: float = 0.0,
        query: Mapping[str, str | int | float] | None = None,
    ) -> httpx.Request:
        timeout = httpx.Timeout(self._policy.timeout_s, read=self._policy.timeout_s + wait_s)
        return httpx.Request(
            method,
            self._base_url + path,
            params=dict(query) if query else None,
            headers=dict(headers),
            content=content,
            extensions={"timeout": timeout.as_dict()},
        )


def _checked_url(base_url: str) -> str:
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in {"http", "https"} or not url.host:
        raise InvalidInput("base_url", "an API's URL begins with http:// or https:// and names a host")
    return base_url.rstrip("/")


def _answer(response: httpx.Response) -> Any:
    try:
        content = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        content = None
    if response.status_code not in _OK:
        raise _refusal(response, content)
    if content is None:
        raise UnexpectedAnswer(f"{response.request.url.host} answers without JSON: is this the API?")
    return content


def _bytes_of(response: httpx.Response) -> bytes:
    return response.content if response.status_code in _OK else _answer(response)  # which raises the refusal


def _refusal(response: httpx.Response, content: Any) -> ApiError:
    if isinstance(content, dict):
        return api_error(response.status_code, content)
    shown = f"HTTP {response.status_code}: {response.text[:_SHOWN_BODY]}".rstrip(": ")
    return api_error(
        response.status_code, {"detail": f"{response.request.url} answers {shown}: is this the API?"}
    )


def _read(reader: Callable[[Any], T], answer: Any) -> T:
    try:
        return reader(answer)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnexpectedAnswer(f"the API's answer cannot be read: {error!r}") from error


def _detail_of(response: httpx.Response) -> str:
    try:
        return f" ({orjson.loads(response.content)['detail']})"
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return ""


def _retry_after(response: httpx.Response) -> float:
    """Seconds of a Retry-After header; 0 without one, or when it is a date."""
    try:
        return max(0.0, float(response.headers.get("Retry-After", "0")))
    except ValueError:
        return 0.0
