// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {RecordKind} from "../interfaces/ISplitLedger.sol";
import {Words} from "./Words.sol";

/// @title Leaves and roots of batches
/// @notice The tree has the layout of OpenZeppelin's StandardMerkleTree: 2n - 1 nodes, node i the hash of its children
/// 2i + 1 and 2i + 2 in ascending order, leaf k at node 2n - 2 - k. So leaves are filled in from the end of the memory
/// for the tree, and the inner nodes before them, without knowing n beforehand.
library BatchRoot {
    /// @notice Memory for the tree of up to `most` leaves. Returns its end: leaf k is the word at end - 32 (k + 1).
    function allocate(uint256 most) internal pure returns (uint256 end) {
        return Words.allocate(2 * most) + 64 * most;
    }

    /// @notice Leaf of one record: keccak256(keccak256(abi.encode(kind, id, orderId, amount, content))).
    function leaf(RecordKind kind, bytes32 id, bytes32 orderId, uint256 amount, bytes32 content)
        internal
        pure
        returns (bytes32 hash)
    {
        assembly ("memory-safe") {
            let m := mload(0x40)
            mstore(m, kind)
            mstore(add(m, 0x20), id)
            mstore(add(m, 0x40), orderId)
            mstore(add(m, 0x60), amount)
            mstore(add(m, 0x80), content)
            mstore(0, keccak256(m, 0xa0))
            hash := keccak256(0, 0x20)
        }
    }

    /// @notice Root over the `count` leaves that end at `end`; `count` is at least 1.
    /// @dev Two neighbours are the children of the node that many words further down: nodes are made from the last to
    /// the first, always of the next two words.
    function root(uint256 end, uint256 count) internal pure returns (bytes32 result) {
        assembly ("memory-safe") {
            let node := sub(end, shl(5, count))
            let last := sub(end, shl(5, sub(shl(1, count), 1)))
            for { let child := sub(end, 0x20) } gt(node, last) { child := sub(child, 0x40) } {
                let a := mload(child)
                let b := mload(sub(child, 0x20))
                let place := shl(5, gt(a, b))
                mstore(place, a)
                mstore(xor(place, 0x20), b)
                node := sub(node, 0x20)
                mstore(node, keccak256(0, 0x40))
            }
            result := mload(last)
        }
    }
}
