// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ISplitLedger} from "../interfaces/ISplitLedger.sol";
import {Words} from "./Words.sol";

/// @title The allocations of one split, written once in memory for event and content hash
/// @notice At `list` stand the words of abi.encode(amount, Allocation[]), which are the data of OrderSplit: amount, 0x40,
/// count, and recipient and amount of each. From the second word on, with 0x20 there, it is abi.encode(Allocation[]).
library Allocations {
    bytes32 private constant ORDER_SPLIT = ISplitLedger.OrderSplit.selector;
    uint256 private constant HEAD = 96;

    /// @notice Memory for a split: its payees (the participants bound to roles, then those that the rule fixes), and
    /// behind them its allocations.
    /// @param count_ of allocations.
    /// @param words that Allocator.allocate needs from the first allocation on.
    function prepare(
        bytes32[] calldata bindings,
        bytes32[] memory recipients,
        uint256 amount,
        uint256 count_,
        uint256 words
    ) internal pure returns (uint256 payees, uint256 list) {
        assembly ("memory-safe") {
            payees := mload(0x40)
            let bound := shl(5, bindings.length)
            let given := shl(5, mload(recipients))
            calldatacopy(payees, bindings.offset, bound)
            list := add(payees, bound)
            mcopy(list, add(recipients, 0x20), given)
            list := add(list, given)
            mstore(list, amount)
            mstore(add(list, 0x40), count_)
            mstore(0x40, add(list, add(HEAD, shl(5, words))))
        }
    }

    /// @notice Where the first allocation stands.
    function first(uint256 list) internal pure returns (uint256 position) {
        unchecked {
            return list + HEAD;
        }
    }

    function count(uint256 list) internal pure returns (uint256) {
        unchecked {
            return Words.ofMemory(list + 64);
        }
    }

    /// @notice Recipient of allocation k.
    function recipientAt(uint256 list, uint256 k) internal pure returns (bytes32) {
        unchecked {
            return bytes32(Words.ofMemory(list + HEAD + 64 * k));
        }
    }

    /// @notice What all allocations to a recipient amount to.
    function amountOf(uint256 list, bytes32 recipient) internal pure returns (uint256 amount) {
        uint256 count_ = count(list);
        for (uint256 k = 0; k < count_; ++k) {
            if (recipientAt(list, k) == recipient) amount += Words.ofMemory(list + HEAD + 64 * k + 32);
        }
    }

    /// @notice emit OrderSplit(orderId, splitId, amount, allocations).
    /// @return content keccak256(abi.encode(allocations)).
    function emitOrderSplit(uint256 list, bytes32 orderId, bytes32 splitId) internal returns (bytes32 content) {
        bytes32 topic = ORDER_SPLIT;
        assembly ("memory-safe") {
            let size := add(HEAD, shl(6, mload(add(list, 0x40))))
            mstore(add(list, 0x20), 0x40)
            log3(list, size, topic, orderId, splitId)
            mstore(add(list, 0x20), 0x20)
            content := keccak256(add(list, 0x20), sub(size, 0x20))
        }
    }
}
