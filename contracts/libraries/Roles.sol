// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Role numbers in the AccessManager
/// @notice The administrator's role is AccessManager's own (0).
library Roles {
    /// @notice Enrols and suspends participants, attests consent.
    uint64 internal constant REGISTRAR = 1;
    /// @notice Approves rule versions.
    uint64 internal constant RULE_APPROVER = 2;
    /// @notice Signs captures (a bank).
    uint64 internal constant ATTESTOR = 3;
    /// @notice Protects others: vetoes rule versions, sets what platforms may share out at most, freezes.
    uint64 internal constant GUARDIAN = 4;
    /// @notice The SplitLedger, which tells the Conditions what was captured.
    uint64 internal constant LEDGER = 5;
    /// @notice The ClearingHouse, which moves positions of the SplitLedger.
    uint64 internal constant CLEARING_HOUSE = 6;
    /// @notice Signs cycles and what became of their payouts (a bank).
    uint64 internal constant CLEARING_BANK = 7;
}
