// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Hashes} from "@openzeppelin/contracts/utils/cryptography/Hashes.sol";
import {RecordKind} from "../interfaces/ISplitLedger.sol";

/// @title Leaves and roots of batches
/// @notice The tree has the layout of OpenZeppelin's StandardMerkleTree: 2n - 1 nodes, node i the hash of its children
/// 2i + 1 and 2i + 2 in ascending order, leaf k at node 2n - 2 - k.
library BatchRoot {
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

    /// @notice Root over the first `count` of `leaves`; `count` is at least 1.
    function root(bytes32[] memory leaves, uint256 count) internal pure returns (bytes32) {
        unchecked {
            bytes32[] memory tree = new bytes32[](2 * count - 1);
            for (uint256 k = 0; k < count; ++k) {
                tree[2 * count - 2 - k] = leaves[k];
            }
            for (uint256 i = count - 1; i > 0; --i) {
                tree[i - 1] = Hashes.commutativeKeccak256(tree[2 * i - 1], tree[2 * i]);
            }
            return tree[0];
        }
    }
}
