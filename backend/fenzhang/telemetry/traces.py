"""OpenTelemetry traces, if somebody wants them: OTEL_EXPORTER_OTLP_ENDPOINT set, and `fenzhang[otel]` installed.

FastAPI makes the spans of requests by itself, once there is a provider; ticks of stages get theirs here.
"""

from __future__ import annotations

import logging
import os
from contextlib import AbstractContextManager
from importlib import import_module
from typing import Any

from opentelemetry import trace

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
log = logging.getLogger("fenzhang.telemetry")


def configure(process: str) -> None:
    """Export spans, if the environment says where to, as service `fenzhang-<process>` or OTEL_SERVICE_NAME."""
    if not any(os.environ.get(name) for name in _ENDPOINTS):
        return
    try:
        sdk = import_module("opentelemetry.sdk.trace")
        export = import_module("opentelemetry.sdk.trace.export")
        resources = import_module("opentelemetry.sdk.resources")
        otlp = import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    except ImportError:
        log.warning("there are no traces: install fenzhang[otel]")
        return
    os.environ.setdefault("OTEL_SERVICE_NAME", f"fenzhang-{process}")
    provider: Any = sdk.TracerProvider(resource=resources.Resource.create())
    provider.add_span_processor(export.BatchSpanProcessor(otlp.OTLPSpanExporter()))
    trace.set_tracer_provider(provider)


def span(name: str) -> AbstractContextManager[Any]:
    """A span around a block; nothing without a provider."""
    return trace.get_tracer("fenzhang").start_as_current_span(name)
