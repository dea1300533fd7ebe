"""The world and the pipeline of tests/pipeline, for what is told of their records."""

from __future__ import annotations

from pipeline.conftest import built_world, pipeline, world

__all__ = ["built_world", "pipeline", "world"]
