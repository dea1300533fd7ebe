"""A deployed world on a hand-driven node, a database with its keys, and processes between them."""

from __future__ import annotations

from pipeline.conftest import built_world, pipeline, world
from pipeline.processes import processes

__all__ = ["built_world", "pipeline", "processes", "world"]
