// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Single words of calldata and memory
/// @notice For the loops that run once per order or leaf. Solidity checks index and offset at every access (about 70 gas,
/// a hundred times an order); where this is used, the bounds were checked once before, and the place of use says where.
library Words {
    function ofMemory(uint256 position) internal pure returns (uint256 word) {
        assembly ("memory-safe") {
            word := mload(position)
        }
    }

    function put(uint256 position, uint256 word) internal pure {
        assembly ("memory-safe") {
            mstore(position, word)
        }
    }

    /// @notice Memory for `count` words, not cleared.
    function allocate(uint256 count) internal pure returns (uint256 position) {
        assembly ("memory-safe") {
            position := mload(0x40)
            mstore(0x40, add(position, shl(5, count)))
        }
    }

    /// @notice Where memory is free. `rewind` gives back all that was allocated since, so that a long batch does not pay
    /// for growing memory. Nothing allocated after the mark may be used after the rewind.
    function mark() internal pure returns (uint256 position) {
        assembly ("memory-safe") {
            position := mload(0x40)
        }
    }

    function rewind(uint256 position) internal pure {
        assembly ("memory-safe") {
            mstore(0x40, position)
        }
    }
}
