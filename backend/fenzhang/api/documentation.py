"""What OpenAPI says about an operation beside its schemas: answers, problems, scopes."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from fenzhang.api.problems import PROBLEM_JSON
from fenzhang.intake.actor import Scope

_SECURITY_SCHEME = "oauth2"
_PROBLEM_REF = {"$ref": "#/components/schemas/Problem"}
_SCOPES = {
    Scope.OPERATOR.value: "Create apps, enrol and suspend platforms, read the ledger.",
    Scope.PLATFORM.value: "Everything that belongs to the app's own platform.",
    Scope.APPROVER.value: "Read, try and approve the rules that platforms propose.",
    Scope.GUARDIAN.value: "Read and veto rules, cap platforms, freeze orders, splits and participants.",
    Scope.AUDITOR.value: "Read the ledger and the rules of every platform.",
}

READ = (401, 403, 404, 422, 429, 503)
"""Problems that any reading of a named thing can have."""
LIST = (401, 403, 422, 429, 503)
"""Problems that a listing can have."""
WRITE = (400, 401, 403, 404, 409, 413, 415, 422, 429, 503)
"""Problems that any write can have."""


def operation(
    answers: dict[int, type[BaseModel]], *problems: int, scopes: tuple[Scope, ...] = ()
) -> dict[str, Any]:
    """Keyword arguments of a route: its answers (status to model; the first is the usual one), problems and scopes.

    An app needs one of `scopes`.
    """
    documented: dict[int | str, dict[str, Any]] = {
        status: {"model": model, "description": HTTPStatus(status).phrase}
        for status, model in answers.items()
    }
    for status in problems:
        documented[status] = {
            "description": HTTPStatus(status).phrase,
            "content": {PROBLEM_JSON: {"schema": _PROBLEM_REF}},
        }
    extra = {"security": [{_SECURITY_SCHEME: [scope.value]} for scope in scopes]} if scopes else {}
    return {"status_code": next(iter(answers)), "responses": documented, "openapi_extra": extra}


def describe(app: FastAPI) -> None:
    """Let `app` describe itself with its security scheme."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(
                title=app.title, version=app.version, description=app.description, routes=app.routes
            )
            schema["components"]["securitySchemes"] = {
                _SECURITY_SCHEME: {
                    "type": "oauth2",
                    "flows": {"clientCredentials": {"tokenUrl": "/oauth/token", "scopes": _SCOPES}},
                }
            }
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the schema
