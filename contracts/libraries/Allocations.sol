// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Allocation, ISplitLedger} from "../interfaces/ISplitLedger.sol";
import {Words} from "./Words.sol";

/// @title The allocations of one record, written once in memory for event and content hash
/// @notice At `list` stand the words of abi.encode(amount, Allocation[]), which are the data of OrderSplit: amount, 0x40,
/// count, and recipient and amount of each. From the second word on, with 0x20 there, it is abi.encode(Allocation[]).
/// What returns and refunds take has a free word before it.
library Allocations {
    bytes32 private constant ORDER_SPLIT = ISplitLedger.OrderSplit.selector;
    bytes32 private constant SPLIT_RETURNED = ISplitLedger.SplitReturned.selector;
    bytes32 private constant ORDER_REFUNDED = ISplitLedger.OrderRefunded.selector;
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

    function setRecipientAt(uint256 list, uint256 k, bytes32 recipient) internal pure {
        unchecked {
            Words.put(list + HEAD + 64 * k, uint256(recipient));
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

    // What returns and refunds take.

    /// @notice Memory for leaves to take from.
    function create(uint256 count_) internal pure returns (uint256 list) {
        unchecked {
            list = Words.allocate(4 + 2 * count_) + 32;
            Words.put(list + 64, count_);
        }
    }

    /// @notice A part of a list, in its place: what stands before it is lost.
    function part(uint256 list, uint256 first_, uint256 count_) internal pure returns (uint256 position) {
        unchecked {
            position = list + 64 * first_;
            Words.put(position + 64, count_);
        }
    }

    function amountAt(uint256 list, uint256 k) internal pure returns (uint256) {
        unchecked {
            return Words.ofMemory(list + HEAD + 64 * k + 32);
        }
    }

    function setAmountAt(uint256 list, uint256 k, uint256 amount) internal pure {
        unchecked {
            Words.put(list + HEAD + 64 * k + 32, amount);
        }
    }

    /// @notice Writes recorded allocations at `position`. Returns where the next one stands.
    function copy(uint256 position, Allocation[] calldata allocations) internal pure returns (uint256 next) {
        assembly ("memory-safe") {
            let size := shl(6, allocations.length)
            calldatacopy(position, allocations.offset, size)
            next := add(position, size)
        }
    }

    /// @notice Takes recorded amounts from as many leaves, from the one at `position` on.
    function lessen(uint256 position, Allocation[] calldata takes) internal pure {
        assembly ("memory-safe") {
            let at := add(takes.offset, 0x20)
            for { let end := add(at, shl(6, takes.length)) } lt(at, end) { at := add(at, 0x40) } {
                mstore(add(position, 0x20), sub(mload(add(position, 0x20)), calldataload(at)))
                position := add(position, 0x40)
            }
        }
    }

    /// @notice emit SplitReturned(orderId, returnId, splitId, amount, takes).
    /// @return content keccak256(abi.encode(splitId, takes)).
    function emitSplitReturned(uint256 list, bytes32 orderId, bytes32 returnId, bytes32 splitId, uint256 amount)
        internal
        returns (bytes32 content)
    {
        bytes32 topic = SPLIT_RETURNED;
        assembly ("memory-safe") {
            let size := add(HEAD, shl(6, mload(add(list, 0x40))))
            mstore(list, amount)
            mstore(add(list, 0x20), 0x40)
            log4(list, size, topic, orderId, returnId, splitId)
            mstore(list, splitId)
            content := keccak256(list, size)
        }
    }

    /// @notice emit OrderRefunded(orderId, refundId, amount, fromHeld, takes).
    /// @return content keccak256(abi.encode(takes)).
    function emitOrderRefunded(uint256 list, bytes32 orderId, bytes32 refundId, uint256 amount, uint256 fromHeld)
        internal
        returns (bytes32 content)
    {
        bytes32 topic = ORDER_REFUNDED;
        assembly ("memory-safe") {
            let size := add(HEAD, shl(6, mload(add(list, 0x40))))
            mstore(sub(list, 0x20), amount)
            mstore(list, fromHeld)
            mstore(add(list, 0x20), 0x60)
            log3(sub(list, 0x20), add(size, 0x20), topic, orderId, refundId)
            mstore(add(list, 0x20), 0x20)
            content := keccak256(add(list, 0x20), sub(size, 0x20))
        }
    }
}
