// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Allocation, Capture, ISplitLedger, Instruction, PastRecord, RecordKind} from "../interfaces/ISplitLedger.sol";
import {Allocator} from "./Allocator.sol";
import {BatchRoot} from "./BatchRoot.sol";
import {OrderSlot} from "./OrderSlot.sol";
import {Cursor, Runs} from "./Runs.sol";
import {Typed} from "./Typed.sol";

/// @title The opened past of an order, and what a return takes from it
library Past {
    using Runs for Cursor;

    /// @notice Head of the hash chain over the opened records; it equals the order's head if and only if they are its past.
    function head(Cursor memory cursor) internal pure returns (bytes32 result) {
        PastRecord[] calldata past = cursor.pastOf();
        Capture calldata c = cursor.captureOf();
        for (uint256 k = 0; k < past.length; ++k) {
            PastRecord calldata record = past[k];
            bytes32 content;
            if (record.kind == RecordKind.SPLIT) content = _contentOfSplit(record.allocations);
            else if (record.kind == RecordKind.RELEASE) content = c.merchant;
            else content = _contentOfReturn(record.splitId, record.allocations);
            bytes32 leaf = BatchRoot.leaf(record.kind, record.id, c.orderId, record.amount, content);
            result = OrderSlot.advance(result, leaf);
        }
    }

    /// @dev keccak256(abi.encode(allocations)). The words are hashed as they are: those that were recorded were in range.
    function _contentOfSplit(Allocation[] calldata allocations) private pure returns (bytes32 content) {
        assembly ("memory-safe") {
            let m := mload(0x40)
            let size := shl(6, allocations.length)
            mstore(m, 0x20)
            mstore(add(m, 0x20), allocations.length)
            calldatacopy(add(m, 0x40), allocations.offset, size)
            content := keccak256(m, add(size, 0x40))
        }
    }

    /// @dev keccak256(abi.encode(splitId, allocations)), likewise.
    function _contentOfReturn(bytes32 splitId, Allocation[] calldata allocations)
        private
        pure
        returns (bytes32 content)
    {
        assembly ("memory-safe") {
            let m := mload(0x40)
            let size := shl(6, allocations.length)
            mstore(m, splitId)
            mstore(add(m, 0x20), 0x40)
            mstore(add(m, 0x40), allocations.length)
            calldatacopy(add(m, 0x60), allocations.offset, size)
            content := keccak256(m, add(size, 0x60))
        }
    }

    /// @notice What splits gave to others than the order's merchant, less what was returned.
    function sharedOut(Cursor memory cursor) internal pure returns (uint256 amount) {
        PastRecord[] calldata past = cursor.pastOf();
        bytes32 merchant = cursor.captureOf().merchant;
        for (uint256 k = 0; k < past.length; ++k) {
            PastRecord calldata record = past[k];
            // What is given as the allocations of a RELEASE is part of no hash.
            if (record.kind == RecordKind.SPLIT) amount += toOthers(record.allocations, merchant);
            else if (record.kind == RecordKind.RETURN) amount -= toOthers(record.allocations, merchant);
        }
    }

    /// @notice What allocations give to others than the merchant.
    function toOthers(Allocation[] memory allocations, bytes32 merchant) internal pure returns (uint256 amount) {
        for (uint256 k = 0; k < allocations.length; ++k) {
            if (allocations[k].recipient != merchant) amount += allocations[k].amount;
        }
    }

    /// @notice What each leaf of the named split gives, or why it cannot.
    function takeBack(Cursor memory cursor, Instruction calldata i)
        internal
        pure
        returns (Allocation[] memory takes, bytes memory reason)
    {
        uint256 total;
        (takes, total) = _returnable(cursor.pastOf(), i.splitId);
        if (takes.length == 0) {
            return
                (takes, abi.encodeWithSelector(ISplitLedger.SplitLedger_UnknownSplit.selector, i.orderId, i.splitId));
        }
        if (i.amount == 0) return (takes, abi.encodePacked(ISplitLedger.SplitLedger_ZeroAmount.selector));
        if (i.amounts.length != 0) return (takes, _takeGiven(takes, i));
        if (i.amount > total) {
            return (
                takes,
                abi.encodeWithSelector(
                    ISplitLedger.SplitLedger_InsufficientReturnable.selector, i.splitId, uint256(i.amount), total
                )
            );
        }
        uint256[] memory weights = new uint256[](takes.length);
        for (uint256 k = 0; k < weights.length; ++k) {
            weights[k] = takes[k].amount;
        }
        weights = Allocator.takeBackDown(weights, total, i.amount);
        for (uint256 k = 0; k < weights.length; ++k) {
            takes[k].amount = uint96(weights[k]);
        }
    }

    /// @dev Per leaf of the first split with this id: allocated - returned. Empty when there is no such split.
    function _returnable(PastRecord[] calldata past, bytes32 splitId)
        private
        pure
        returns (Allocation[] memory leaves, uint256 total)
    {
        for (uint256 k = 0; k < past.length; ++k) {
            PastRecord calldata record = past[k];
            if (record.kind == RecordKind.SPLIT && record.id == splitId && leaves.length == 0) {
                leaves = record.allocations;
                total = record.amount;
            } else if (record.kind == RecordKind.RETURN && record.splitId == splitId) {
                for (uint256 j = 0; j < leaves.length; ++j) {
                    leaves[j].amount -= record.allocations[j].amount;
                }
                total -= record.amount;
            }
        }
    }

    /// @dev Replaces what each leaf could give by what the instruction takes from it.
    function _takeGiven(Allocation[] memory takes, Instruction calldata i) private pure returns (bytes memory reason) {
        (bool fit, uint256 sum) = Typed.sumOf(i.amounts);
        if (i.amounts.length != takes.length || !fit || sum != i.amount) {
            return abi.encodeWithSelector(ISplitLedger.SplitLedger_MalformedInstruction.selector, i.id);
        }
        for (uint256 k = 0; k < takes.length; ++k) {
            if (i.amounts[k] > takes[k].amount) {
                return abi.encodeWithSelector(
                    ISplitLedger.SplitLedger_LeafNotReturnable.selector,
                    i.splitId,
                    k,
                    uint256(i.amounts[k]),
                    uint256(takes[k].amount)
                );
            }
            takes[k].amount = i.amounts[k];
        }
    }
}
