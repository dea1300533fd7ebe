// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {RecordKind} from "../interfaces/ISplitLedger.sol";
import {BatchRoot} from "./BatchRoot.sol";

/// @title Positions of money that leaves the ledger, and the records of a transaction that moves it
library Clearing {
    /// @notice Where the money of payouts stands that were taken and not reported yet. The registry enrols nobody by this
    /// id, nor by its complement.
    bytes32 internal constant IN_TRANSIT = keccak256("fenzhang in transit");
    /// @notice Where the money of payouts stands that reached their accounts. Nobody has this id or its complement either.
    bytes32 internal constant PAID = keccak256("fenzhang paid");

    /// @notice Leaves of records, gathered in memory. `leavesEnd` is as BatchRoot.allocate gives it.
    struct Leaves {
        uint256 leavesEnd;
        uint256 count;
    }

    function isReserved(bytes32 id) internal pure returns (bool) {
        return id == IN_TRANSIT || id == PAID || ~id == IN_TRANSIT || ~id == PAID;
    }

    /// @notice Room for up to `most` records.
    function open(uint256 most) internal pure returns (Leaves memory leaves) {
        leaves.leavesEnd = BatchRoot.allocate(most);
    }

    /// @notice Adds a record that belongs to no order.
    function add(Leaves memory leaves, RecordKind kind, bytes32 id, uint256 amount, bytes32 content) internal pure {
        bytes32 leaf = BatchRoot.leaf(kind, id, bytes32(0), amount, content);
        uint256 place = leaves.leavesEnd - 32 * ++leaves.count;
        assembly ("memory-safe") {
            mstore(place, leaf)
        }
    }

    /// @notice Root of the records that were added, at least one.
    function root(Leaves memory leaves) internal pure returns (bytes32) {
        return BatchRoot.root(leaves.leavesEnd, leaves.count);
    }
}
