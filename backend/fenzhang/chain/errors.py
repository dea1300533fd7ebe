"""What can go wrong between Python and a chain, as types with stable codes."""

from __future__ import annotations

import re
from functools import cache

from fenzhang.domain.errors import FenzhangError


class NodeUnavailable(FenzhangError):
    """The node gave no usable answer: unreachable, too slow, overloaded, or the answer malformed or cut off."""

    code = "node_unavailable"
    retry_after_s: float = 0.0
    """Before that many seconds another attempt is pointless; 0 when nothing is known."""


class RpcError(FenzhangError):
    """The node answered with a JSON-RPC error; `rpc_code` and `data` are its own. `data` holds a revert's bytes."""

    code = "rpc_error"

    def __init__(self, method: str, rpc_code: int, message: str, data: object = None) -> None:
        super().__init__(f"{method}: {message} ({rpc_code})", method=method, rpc_code=rpc_code)
        self.method = method
        self.rpc_code = rpc_code
        self.data = data

    @property
    def revert_data(self) -> bytes | None:
        """What the contract reverted with, or None when this error is no revert with data."""
        data = self.data
        if isinstance(data, dict):
            data = data.get("data")
        if not isinstance(data, str):
            return None
        found = re.search(r"0x((?:[0-9a-fA-F]{2})*)\Z", data)
        return bytes.fromhex(found[1]) if found else None


class Undecodable(FenzhangError):
    """Bytes from the chain are not what the ABI of the contracts says they are."""

    code = "undecodable"


class ContractError(FenzhangError):
    """A contract refused a call. `code` is the Solidity error's name in snake case without its contract."""

    code = "reverted"


class ArtifactMissing(FenzhangError):
    """The compiled contracts are not where they are looked for."""

    code = "artifact_missing"


class DeploymentInvalid(FenzhangError):
    """A deployment file cannot be read."""

    code = "deployment_invalid"


class DeploymentMismatch(FenzhangError):
    """A deployment file belongs to another chain, or the chain does not carry the code it names."""

    code = "deployment_mismatch"


class DevKeyRefused(FenzhangError):
    """A key of the public test mnemonic was about to be used on a chain that is not the devnet."""

    code = "dev_key_refused"


class KeyFileInvalid(FenzhangError):
    """A file holds no key that fenzhang can read."""

    code = "key_file_invalid"


class DeployInterrupted(FenzhangError):
    """A deployment could not be finished now; running it again continues where it stopped."""

    code = "deploy_interrupted"


class WrongPassword(FenzhangError):
    """A key file does not open with this password."""

    code = "wrong_password"


@cache
def contract_error_class(name: str) -> type[ContractError]:
    """The class of a Solidity custom error, such as RuleBook_UnknownVersion (code `unknown_version`)."""
    reason = name.rpartition("_")[2]
    code = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", reason).lower()
    return type(
        reason, (ContractError,), {"code": code, "contract_error": name, "__doc__": f"The contract's {name}."}
    )
