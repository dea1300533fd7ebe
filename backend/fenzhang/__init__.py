"""fenzhang (分账): split rules and settlement records on a consortium chain, clearing off it."""

from importlib.metadata import version

__all__ = ["__version__"]

__version__: str = version("fenzhang")
"""The installed version, as in ``pyproject.toml``."""
