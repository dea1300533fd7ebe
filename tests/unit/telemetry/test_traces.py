"""Traces are optional: without packages or without an endpoint, everything works and nothing is sent."""

from __future__ import annotations

import logging
import sys

import pytest

from fenzhang.telemetry import traces


def test_without_an_endpoint_nothing_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(traces, "import_module", pytest.fail)
    traces.configure("api")
    with traces.span("tick"):
        pass


def test_without_the_packages_one_line_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with caplog.at_level(logging.WARNING):
        traces.configure("api")
    assert "install fenzhang[otel]" in caplog.text
    with traces.span("tick"):
        pass
