// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Suspense positions: shares that wait because their recipient was not active
library Suspense {
    /// @notice The id under which the suspense position of a participant stands, and back: its complement, which the registry
    /// lets nobody else have.
    function idOf(bytes32 participant) internal pure returns (bytes32) {
        return ~participant;
    }
}
