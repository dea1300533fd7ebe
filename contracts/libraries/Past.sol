// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Allocation, Capture, ISplitLedger, Instruction, PastRecord, RecordKind} from "../interfaces/ISplitLedger.sol";
import {Allocations} from "./Allocations.sol";
import {Allocator} from "./Allocator.sol";
import {BatchRoot} from "./BatchRoot.sol";
import {OrderSlot} from "./OrderSlot.sol";
import {Cursor, Runs} from "./Runs.sol";
import {Typed} from "./Typed.sol";
import {Words} from "./Words.sol";

/// @title The opened past of an order, and what a return or refund takes from it
library Past {
    using Runs for Cursor;

    /// @notice Head of the hash chain over the opened records; it equals the order's head if and only if they are its past.
    function head(Cursor memory cursor) internal pure returns (bytes32 result) {
        PastRecord[] calldata past = cursor.pastOf();
        Capture calldata c = cursor.captureOf();
        for (uint256 k = 0; k < past.length; ++k) {
            PastRecord calldata record = past[k];
            bytes32 content;
            if (record.kind == RecordKind.SPLIT || record.kind == RecordKind.REFUND) {
                content = _contentOfLeaves(record.allocations);
            } else if (record.kind == RecordKind.RELEASE) {
                content = c.merchant;
            } else {
                content = _contentOfReturn(record.splitId, record.allocations);
            }
            bytes32 leaf = BatchRoot.leaf(record.kind, record.id, c.orderId, record.amount, content);
            result = OrderSlot.advance(result, leaf);
        }
    }

    /// @dev keccak256(abi.encode(allocations)). The words are hashed as they are: those that were recorded were in range.
    function _contentOfLeaves(Allocation[] calldata allocations) private pure returns (bytes32 content) {
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

    /// @notice What splits gave to others than the order's merchant, less what was returned and refunded.
    function sharedOut(Cursor memory cursor) internal pure returns (uint256 amount) {
        PastRecord[] calldata past = cursor.pastOf();
        bytes32 merchant = cursor.captureOf().merchant;
        for (uint256 k = 0; k < past.length; ++k) {
            PastRecord calldata record = past[k];
            // What is given as the allocations of a RELEASE is part of no hash.
            if (record.kind == RecordKind.SPLIT) amount += _toOthers(record.allocations, merchant);
            else if (record.kind != RecordKind.RELEASE) amount -= _toOthers(record.allocations, merchant);
        }
    }

    function _toOthers(Allocation[] calldata allocations, bytes32 merchant) private pure returns (uint256 amount) {
        for (uint256 k = 0; k < allocations.length; ++k) {
            if (allocations[k].recipient != merchant) amount += allocations[k].amount;
        }
    }

    /// @notice What each leaf of the named split gives to a RETURN, or why it cannot.
    function takeBack(Cursor memory cursor, Instruction calldata i)
        internal
        pure
        returns (uint256 takes, bytes memory reason)
    {
        if (head(cursor) != cursor.head) return (takes, _notFirst(i.orderId));
        (uint256 first, uint256 count) = _placeOf(cursor.pastOf(), i.splitId);
        if (count == 0) {
            return
                (takes, abi.encodeWithSelector(ISplitLedger.SplitLedger_UnknownSplit.selector, i.orderId, i.splitId));
        }
        if (i.amount == 0) return (takes, abi.encodePacked(ISplitLedger.SplitLedger_ZeroAmount.selector));
        takes = Allocations.part(_leaves(cursor), first, count);
        if (i.amounts.length != 0) return (takes, _takeGiven(takes, i));
        return (
            takes,
            _spread(takes, ISplitLedger.SplitLedger_InsufficientReturnable.selector, i.splitId, Typed.amountOf(i), 0)
        );
    }

    /// @notice What each leaf of the order gives to a REFUND beyond what it held, or why it cannot.
    function takeForRefund(Cursor memory cursor, Instruction calldata i, uint256 held)
        internal
        pure
        returns (uint256 takes, bytes memory reason)
    {
        if (head(cursor) != cursor.head) return (takes, _notFirst(i.orderId));
        if (i.amount == 0) return (takes, abi.encodePacked(ISplitLedger.SplitLedger_ZeroAmount.selector));
        takes = _leaves(cursor);
        reason =
            _spread(takes, ISplitLedger.SplitLedger_InsufficientRefundable.selector, i.orderId, Typed.amountOf(i), held);
    }

    /// @dev Per leaf of the order what it can still give: allocated or released, less what was returned and refunded from it.
    /// Leaves are those of all splits, and for each release its merchant, in the order of the records. All of it was
    /// recorded here, so it is in range and nothing gave more than it had.
    function _leaves(Cursor memory cursor) private pure returns (uint256 leaves) {
        PastRecord[] calldata past = cursor.pastOf();
        unchecked {
            uint256 count;
            for (uint256 k = 0; k < past.length; ++k) {
                count += _leafCount(past[k]);
            }
            leaves = Allocations.create(count);
            uint256 next = Allocations.first(leaves);
            for (uint256 k = 0; k < past.length; ++k) {
                PastRecord calldata record = past[k];
                RecordKind kind = record.kind;
                if (kind == RecordKind.RELEASE) {
                    // What stands where its allocations would be was not hashed, and may be anything.
                    Words.put(next, uint256(cursor.captureOf().merchant));
                    Words.put(next + 32, record.amount);
                    next += 64;
                } else if (kind == RecordKind.SPLIT) {
                    next = Allocations.copy(next, record.allocations);
                } else {
                    uint256 first;
                    if (kind == RecordKind.RETURN) (first,) = _placeOf(past, record.splitId);
                    Allocations.lessen(Allocations.first(leaves) + 64 * first, record.allocations);
                }
            }
        }
    }

    /// @dev Where the leaves of the first split with this id stand among those of the order; `count` is 0 without one.
    function _placeOf(PastRecord[] calldata past, bytes32 splitId) private pure returns (uint256 first, uint256 count) {
        unchecked {
            for (uint256 k = 0; k < past.length; ++k) {
                PastRecord calldata record = past[k];
                count = _leafCount(record);
                if (record.kind == RecordKind.SPLIT && record.id == splitId) return (first, count);
                first += count;
            }
            count = 0;
        }
    }

    function _leafCount(PastRecord calldata record) private pure returns (uint256) {
        if (record.kind == RecordKind.SPLIT) return record.allocations.length;
        return record.kind == RecordKind.RELEASE ? 1 : 0;
    }

    /// @dev Lets leaves give in proportion what an amount needs beyond what is held, or says by `refusal` that they cannot.
    /// @param leaves what each has, replaced by what it gives.
    function _spread(uint256 leaves, bytes4 refusal, bytes32 id, uint256 amount, uint256 held)
        private
        pure
        returns (bytes memory reason)
    {
        uint256 total;
        uint256 count = Allocations.count(leaves);
        unchecked {
            for (uint256 k = 0; k < count; ++k) {
                total += Allocations.amountAt(leaves, k);
            }
            if (amount > held + total) return abi.encodeWithSelector(refusal, id, amount, held + total);
            amount = amount > held ? amount - held : 0;
        }
        Allocator.takeBackDown(Allocations.first(leaves), count, total, amount);
    }

    function _notFirst(bytes32 orderId) private pure returns (bytes memory) {
        return abi.encodeWithSelector(ISplitLedger.SplitLedger_ReturnNotFirst.selector, orderId);
    }

    /// @dev Replaces what each leaf could give by what the instruction takes from it.
    function _takeGiven(uint256 takes, Instruction calldata i) private pure returns (bytes memory reason) {
        uint96[] calldata amounts = Typed.amountsOf(i);
        (bool fit, uint256 sum) = Typed.sumOf(amounts);
        if (amounts.length != Allocations.count(takes) || !fit || sum != i.amount) {
            return abi.encodeWithSelector(ISplitLedger.SplitLedger_MalformedInstruction.selector, i.id);
        }
        for (uint256 k = 0; k < amounts.length; ++k) {
            uint256 amount = amounts[k];
            uint256 has = Allocations.amountAt(takes, k);
            if (amount > has) {
                return abi.encodeWithSelector(
                    ISplitLedger.SplitLedger_LeafNotReturnable.selector, i.splitId, k, amount, has
                );
            }
            Allocations.setAmountAt(takes, k, amount);
        }
    }
}
