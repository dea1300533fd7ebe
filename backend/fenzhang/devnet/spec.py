"""What a keeper process is told on its command line."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from fenzhang.devnet.config import DevnetConfig, Mining


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What the keeper is told."""

    config: DevnetConfig
    binary: Path
    lock: int
    """Inherited descriptor that holds the state's lock; passed on to anvil."""
    answer: int
    """Inherited descriptor of the pipe for the one answer."""
    parent: int | None
    """Stop when this process is no longer the parent. None: detach and run until told to stop."""

    def dumps(self) -> str:
        """As a command-line argument."""
        config = dataclasses.asdict(self.config) | {"home": str(self.config.home)}
        return json.dumps(dataclasses.asdict(self) | {"config": config, "binary": str(self.binary)})

    @classmethod
    def loads(cls, text: str) -> Spec:
        """The reverse of `dumps`."""
        plain = json.loads(text)
        config = plain["config"]
        config |= {"home": Path(config["home"]), "mining": Mining(config["mining"])}
        return cls(**plain | {"config": DevnetConfig(**config), "binary": Path(plain["binary"])})
