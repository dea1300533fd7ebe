"""What can go wrong with the local chain: one class per reason, each saying what to do about it."""

from __future__ import annotations

from pathlib import Path

from fenzhang.domain.errors import FenzhangError


class DevnetError(FenzhangError):
    """The local chain cannot do what was asked."""

    code = "devnet_error"


class AnvilMissing(DevnetError):
    """There is no anvil binary anywhere this machine was asked to look."""

    code = "devnet_anvil_missing"

    def __init__(self, *, node_installed: bool) -> None:
        first = (
            "run `npm ci` in hardhat-free-devnet (or `make setup`)"
            if node_installed
            else "install Node.js 20 or newer and run `npm ci` in hardhat-free-devnet (or `make setup`)"
        )
        super().__init__(
            f"no anvil found: {first}, or put an `anvil` on PATH, or set FENZHANG_ANVIL to one",
            node_installed=node_installed,
        )


class AnvilNotExecutable(DevnetError):
    """FENZHANG_ANVIL names something that cannot be run."""

    code = "devnet_anvil_not_executable"

    def __init__(self, path: str) -> None:
        super().__init__(f"FENZHANG_ANVIL is {path!r}, which is not an executable file", path=path)


class DevnetRunning(DevnetError):
    """A node already runs on this state; two would overwrite each other's snapshots."""

    code = "devnet_running"

    def __init__(self, home: Path, url: str | None) -> None:
        where = f" at {url}" if url else ""
        super().__init__(f"a devnet on {home} is already running{where}", home=str(home), url=url)


class PortTaken(DevnetError):
    """Something else listens on the chosen port."""

    code = "devnet_port_taken"

    def __init__(self, host: str, port: int) -> None:
        super().__init__(
            f"port {port} on {host} is taken; choose another with --port, or --port 0 for a free one",
            host=host,
            port=port,
        )


class WrongChain(DevnetError):
    """The stored state belongs to a chain with another id."""

    code = "devnet_wrong_chain"

    def __init__(self, path: Path, *, expected: int, found: int) -> None:
        super().__init__(
            f"the state in {path} is of chain {found}, not {expected};"
            " use another FENZHANG_HOME or `fenzhang devnet reset`",
            path=str(path),
            expected=expected,
            found=found,
        )


class StateUnreadable(DevnetError):
    """The stored state is damaged or was written by something else."""

    code = "devnet_state_unreadable"

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"the stored state {path} cannot be read ({reason}); `fenzhang devnet reset` starts anew",
            path=str(path),
            reason=reason,
        )


class StartFailed(DevnetError):
    """The node ended, or did not answer, before it was ready."""

    code = "devnet_start_failed"

    def __init__(self, reason: str, log: Path | None = None) -> None:
        see = f"; see {log}" if log is not None else ""
        super().__init__(f"the devnet did not start: {reason}{see}", reason=reason)


class StopFailed(DevnetError):
    """The node did not end within the time allowed."""

    code = "devnet_stop_failed"

    def __init__(self, home: Path, timeout_s: float) -> None:
        super().__init__(
            f"the devnet on {home} did not stop within {timeout_s:g} s", home=str(home), timeout_s=timeout_s
        )


class NodeUnreachable(DevnetError):
    """A JSON-RPC call got no proper answer."""

    code = "devnet_unreachable"

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"{url} does not answer: {reason}", url=url, reason=reason)
