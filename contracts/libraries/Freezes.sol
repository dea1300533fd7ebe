// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title What guardians have frozen, and who may undo it
/// @notice A freeze is undone by another account than the one that made it. The callers see to it that both are guardians.
library Freezes {
    /// @notice Who froze something and why: an ASCII name, left aligned. `guardian` is zero for what is not frozen.
    struct Freeze {
        address guardian;
        bytes32 reason;
    }

    error Freezes_NoReason();
    error Freezes_AlreadyFrozen(address guardian);
    error Freezes_NotFrozen();
    error Freezes_SameGuardian(address guardian);

    /// @param on whether it is frozen from now on.
    function change(Freeze storage freeze, bool on, bytes32 reason) internal {
        address guardian = freeze.guardian;
        if (reason == bytes32(0)) revert Freezes_NoReason();
        if (on && guardian != address(0)) revert Freezes_AlreadyFrozen(guardian);
        if (!on && guardian == address(0)) revert Freezes_NotFrozen();
        if (guardian == msg.sender) revert Freezes_SameGuardian(guardian);
        freeze.guardian = on ? msg.sender : address(0);
        freeze.reason = on ? reason : bytes32(0);
    }
}
