// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title One order in one slot
/// @notice commitment << 96 | held, where the commitment is the low 160 bits of keccak256(captureHash, head),
/// and `held` has at most 63 bits. A slot of a captured order is never zero: that would take a hash with 160 zero bits.
library OrderSlot {
    function pack(bytes32 captureHash, bytes32 head, uint256 amount) internal pure returns (uint256) {
        return uint256(pair(captureHash, head)) << 96 | amount;
    }

    function held(uint256 slot) internal pure returns (uint256) {
        return slot & type(uint96).max;
    }

    /// @notice The next head of an order's hash chain, after a record with `leaf`.
    function advance(bytes32 head, bytes32 leaf) internal pure returns (bytes32) {
        return pair(head, leaf);
    }

    /// @notice Whether `slot` commits to this capture and head.
    function matches(uint256 slot, bytes32 captureHash, bytes32 head) internal pure returns (bool) {
        return slot >> 96 == uint256(pair(captureHash, head)) & type(uint160).max;
    }

    function pair(bytes32 a, bytes32 b) private pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            mstore(0, a)
            mstore(0x20, b)
            hash := keccak256(0, 0x40)
        }
    }
}
