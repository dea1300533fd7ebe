// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ParticipantStatus} from "../interfaces/IParticipantRegistry.sol";
import {RuleState} from "../interfaces/IRuleBook.sol";
import {
    Allocation,
    Capture,
    ISplitLedger,
    Instruction,
    InstructionKind,
    OrderWitness,
    RecordKind
} from "../interfaces/ISplitLedger.sol";
import {Allocator} from "./Allocator.sol";
import {BatchRoot} from "./BatchRoot.sol";
import {OrderSlot} from "./OrderSlot.sol";
import {Past} from "./Past.sol";
import {Cursor, LoadedRule, Run, Runs} from "./Runs.sol";
import {Typed} from "./Typed.sol";

/// @title What an instruction does to an order, positions and totals
/// @notice Functions return the reason of a rejection (an encoded custom error), or nothing when it settled.
/// The order of the checks is part of the specification: domain/settlement.py gives the same first reason.
library Settlement {
    using OrderSlot for uint256;
    using Runs for Run;
    using Runs for Cursor;

    /// @notice Largest amount of one order, so that every mirror can keep amounts as signed 64-bit integers.
    uint256 internal constant MAX_AMOUNT = type(uint64).max >> 1;

    struct Totals {
        uint128 captured;
        uint128 held;
    }

    struct Books {
        mapping(bytes32 orderId => uint256 slot) orders;
        mapping(bytes3 currency => mapping(bytes32 participant => uint256 amount)) positions;
        mapping(bytes3 currency => Totals) totals;
        mapping(bytes3 currency => bool) enabled;
    }

    /// @notice Takes up a witness. One that does not match the order's slot leaves the order unknown to this transaction.
    function witness(Books storage books, Run memory run, OrderWitness calldata given) internal view {
        Capture calldata capture_ = given.capture;
        Cursor memory cursor = run.addCursor(capture_);
        cursor.captureHash = Typed.hash(capture_);
        cursor.head = given.head;
        cursor.slot = books.orders[capture_.orderId];
        cursor.known = cursor.slot != 0 && cursor.slot.matches(cursor.captureHash, cursor.head);
        cursor.setPast(given.past);
    }

    /// @notice Captures the order of `cursor`.
    function capture(
        Books storage books,
        Run memory run,
        Cursor memory cursor,
        Capture calldata c,
        bytes32 captureHash
    ) internal returns (bytes memory) {
        // check
        if (c.amount == 0) return _reason(ISplitLedger.SplitLedger_ZeroAmount.selector);
        if (c.amount > MAX_AMOUNT) {
            return abi.encodeWithSelector(
                ISplitLedger.SplitLedger_AmountAboveLimit.selector, uint256(c.amount), MAX_AMOUNT
            );
        }
        if (!books.enabled[c.currency]) {
            return abi.encodeWithSelector(ISplitLedger.SplitLedger_CurrencyNotEnabled.selector, c.currency);
        }
        (ParticipantStatus status,) = run.standing(c.platform, c.platform);
        if (status != ParticipantStatus.ACTIVE) {
            return abi.encodeWithSelector(ISplitLedger.SplitLedger_PlatformNotActive.selector, c.platform);
        }
        if (books.orders[c.orderId] != 0) {
            return abi.encodeWithSelector(ISplitLedger.SplitLedger_OrderAlreadyCaptured.selector, c.orderId);
        }
        bytes memory reason = _checkCaptureParties(run, c);
        if (reason.length != 0) return reason;
        // effect
        cursor.captureHash = captureHash;
        cursor.slot = OrderSlot.pack(captureHash, bytes32(0), c.amount);
        cursor.known = true;
        books.orders[c.orderId] = cursor.slot;
        Totals storage totals = books.totals[c.currency];
        totals.captured += c.amount;
        totals.held += c.amount;
        emit ISplitLedger.OrderCaptured(
            c.orderId, c.platform, c.merchant, c.ruleId, c.ruleVersion, c.currency, c.amount, c.bindings
        );
        run.addLeaf(BatchRoot.leaf(RecordKind.CAPTURE, c.orderId, c.orderId, c.amount, captureHash));
        return reason;
    }

    /// @notice Whether this transaction knows enough of the order to decide an instruction: its state, or that it has
    /// none; and for a RETURN its opened past.
    function isReady(Books storage books, Run memory run, Instruction calldata i, uint256 index)
        internal
        view
        returns (bool)
    {
        if (index >= run.cursorCount) return books.orders[i.orderId] == 0;
        Cursor memory cursor = run.cursors[index];
        if (cursor.orderId != i.orderId) return false;
        if (!cursor.known) return books.orders[i.orderId] == 0;
        return i.kind != InstructionKind.RETURN || Past.head(cursor) == cursor.head;
    }

    /// @notice Carries out one instruction that isReady.
    function execute(Books storage books, Run memory run, bytes32 platform, Instruction calldata i, uint256 index)
        internal
        returns (bytes memory)
    {
        if (index >= run.cursorCount || !run.cursors[index].known) {
            return abi.encodeWithSelector(ISplitLedger.SplitLedger_UnknownOrder.selector, i.orderId);
        }
        Cursor memory cursor = run.cursors[index];
        // A second witness of the same order would be outdated by what the first one did.
        if (books.orders[i.orderId] != cursor.slot) revert ISplitLedger.SplitLedger_OrderChanged(i.orderId);
        if (cursor.captureOf().platform != platform) {
            return abi.encodeWithSelector(ISplitLedger.SplitLedger_NotOrderPlatform.selector, i.orderId, platform);
        }
        if (i.kind == InstructionKind.SPLIT) return _split(books, run, cursor, i);
        if (i.kind == InstructionKind.RELEASE) return _release(books, run, cursor, i);
        return _return(books, run, cursor, i);
    }

    function _split(Books storage books, Run memory run, Cursor memory cursor, Instruction calldata i)
        private
        returns (bytes memory)
    {
        Capture calldata c = cursor.captureOf();
        uint256 held = cursor.slot.held();
        // check
        if (i.splitId != bytes32(0) || i.amounts.length != 0) return _malformed(i.id);
        if (i.amount == 0) return _reason(ISplitLedger.SplitLedger_ZeroAmount.selector);
        if (i.amount > held) {
            return abi.encodeWithSelector(
                ISplitLedger.SplitLedger_InsufficientHeld.selector, i.orderId, uint256(i.amount), held
            );
        }
        LoadedRule memory rule = run.ruleOf(c.platform, c.ruleId, c.ruleVersion);
        uint256 mark = _mark();
        (bytes32[] memory bindings, bytes memory reason) = _bind(run, rule, c, i);
        if (reason.length != 0) return reason;
        (uint256[] memory taken, Allocator.Failure memory failure) = Allocator.allocate(rule.legs, i.amount);
        if (failure.failed) {
            return abi.encodeWithSelector(
                ISplitLedger.SplitLedger_LegExceedsRemaining.selector, failure.leg, failure.taken, failure.remaining
            );
        }
        Allocation[] memory allocations = _leaves(rule, bindings, taken);
        for (uint256 k = 0; k < allocations.length; ++k) {
            reason = _checkActive(run, allocations[k].recipient, c.platform);
            if (reason.length != 0) return reason;
        }
        // effect
        _addPositions(books, c.currency, allocations);
        books.totals[c.currency].held -= i.amount;
        emit ISplitLedger.OrderSplit(i.orderId, i.id, i.amount, allocations);
        bytes32 content = keccak256(abi.encode(allocations));
        _record(books, run, cursor, RecordKind.SPLIT, i, i.amount, content, held - i.amount);
        _rewind(mark);
        return reason;
    }

    function _release(Books storage books, Run memory run, Cursor memory cursor, Instruction calldata i)
        private
        returns (bytes memory reason)
    {
        Capture calldata c = cursor.captureOf();
        uint256 held = cursor.slot.held();
        // check
        if (i.splitId != bytes32(0) || i.amount != 0 || i.bindings.length != 0 || i.amounts.length != 0) {
            return _malformed(i.id);
        }
        if (held == 0) return abi.encodeWithSelector(ISplitLedger.SplitLedger_NothingHeld.selector, i.orderId);
        reason = _checkActive(run, c.merchant, c.platform);
        if (reason.length != 0) return reason;
        // effect
        books.positions[c.currency][c.merchant] += held;
        books.totals[c.currency].held -= uint128(held);
        emit ISplitLedger.OrderReleased(i.orderId, i.id, c.merchant, uint96(held));
        _record(books, run, cursor, RecordKind.RELEASE, i, held, c.merchant, 0);
    }

    function _return(Books storage books, Run memory run, Cursor memory cursor, Instruction calldata i)
        private
        returns (bytes memory reason)
    {
        Capture calldata c = cursor.captureOf();
        // check
        if (i.bindings.length != 0) return _malformed(i.id);
        if (Past.head(cursor) != cursor.head) {
            return abi.encodeWithSelector(ISplitLedger.SplitLedger_ReturnNotFirst.selector, i.orderId);
        }
        Allocation[] memory takes;
        (takes, reason) = Past.takeBack(cursor, i);
        if (reason.length != 0) return reason;
        reason = _checkPositions(books, c.currency, takes);
        if (reason.length != 0) return reason;
        // effect
        for (uint256 k = 0; k < takes.length; ++k) {
            if (takes[k].amount != 0) books.positions[c.currency][takes[k].recipient] -= takes[k].amount;
        }
        books.totals[c.currency].held += i.amount;
        emit ISplitLedger.SplitReturned(i.orderId, i.id, i.splitId, i.amount, takes);
        bytes32 content = keccak256(abi.encode(i.splitId, takes));
        _record(books, run, cursor, RecordKind.RETURN, i, i.amount, content, cursor.slot.held() + i.amount);
    }

    /// @dev Writes the order's slot and adds the record's leaf to its chain and to the batch.
    function _record(
        Books storage books,
        Run memory run,
        Cursor memory cursor,
        RecordKind kind,
        Instruction calldata i,
        uint256 amount,
        bytes32 content,
        uint256 held
    ) private {
        bytes32 leaf = BatchRoot.leaf(kind, i.id, i.orderId, amount, content);
        cursor.head = OrderSlot.advance(cursor.head, leaf);
        cursor.slot = OrderSlot.pack(cursor.captureHash, cursor.head, held);
        books.orders[i.orderId] = cursor.slot;
        run.addLeaf(leaf);
    }

    function _checkCaptureParties(Run memory run, Capture calldata c) private view returns (bytes memory reason) {
        LoadedRule memory rule = run.ruleOf(c.platform, c.ruleId, c.ruleVersion);
        if (rule.state != RuleState.IN_FORCE) {
            return abi.encodeWithSelector(
                ISplitLedger.SplitLedger_RuleNotInForce.selector, c.ruleId, c.ruleVersion, rule.state
            );
        }
        bytes32[] calldata bindings = c.bindings;
        if (bindings.length != rule.roles.length) return _bindingCount(bindings.length, rule.roles.length);
        reason = _checkConsenting(run, c.merchant, c.platform);
        for (uint256 r = 0; r < bindings.length && reason.length == 0; ++r) {
            if (bindings[r] != bytes32(0)) reason = _checkConsenting(run, bindings[r], c.platform);
        }
    }

    /// @dev One participant per role: the order's, or where the order left the role open the instruction's.
    function _bind(Run memory run, LoadedRule memory rule, Capture calldata c, Instruction calldata i)
        private
        view
        returns (bytes32[] memory bindings, bytes memory reason)
    {
        bytes32[] calldata own = i.bindings;
        bindings = c.bindings;
        if (own.length != 0 && own.length != bindings.length) {
            return (bindings, _bindingCount(own.length, bindings.length));
        }
        for (uint256 r = 0; r < bindings.length; ++r) {
            bytes32 given = own.length == 0 ? bytes32(0) : own[r];
            if (bindings[r] == bytes32(0)) {
                if (given == bytes32(0)) {
                    reason = abi.encodeWithSelector(ISplitLedger.SplitLedger_RoleNotBound.selector, rule.roles[r]);
                } else {
                    reason = _checkConsenting(run, given, c.platform);
                    bindings[r] = given;
                }
            } else if (given != bytes32(0) && given != bindings[r]) {
                reason = abi.encodeWithSelector(
                    ISplitLedger.SplitLedger_RoleAlreadyBound.selector, rule.roles[r], bindings[r]
                );
            }
            if (reason.length != 0) return (bindings, reason);
        }
    }

    function _leaves(LoadedRule memory rule, bytes32[] memory bindings, uint256[] memory taken)
        private
        pure
        returns (Allocation[] memory allocations)
    {
        uint256 count = rule.leafLegs.length;
        allocations = new Allocation[](count);
        for (uint256 k = 0; k < count; ++k) {
            uint256 leg = rule.leafLegs[k];
            uint256 role = rule.leafRoles[k];
            allocations[k].recipient = role == Runs.FIXED_RECIPIENT ? rule.legs[leg].recipient : bindings[role];
            allocations[k].amount = uint96(taken[leg]);
        }
    }

    function _addPositions(Books storage books, bytes3 currency, Allocation[] memory allocations) private {
        mapping(bytes32 participant => uint256 amount) storage positions = books.positions[currency];
        for (uint256 k = 0; k < allocations.length; ++k) {
            uint256 amount = allocations[k].amount;
            if (amount != 0) positions[allocations[k].recipient] += amount;
        }
    }

    /// @dev A recipient may stand on several leaves, so what it must give is added up leaf by leaf.
    function _checkPositions(Books storage books, bytes3 currency, Allocation[] memory takes)
        private
        view
        returns (bytes memory reason)
    {
        for (uint256 k = 0; k < takes.length; ++k) {
            bytes32 recipient = takes[k].recipient;
            uint256 needed = takes[k].amount;
            for (uint256 j = 0; j < k; ++j) {
                if (takes[j].recipient == recipient) needed += takes[j].amount;
            }
            uint256 position = books.positions[currency][recipient];
            if (needed > position) {
                return abi.encodeWithSelector(
                    ISplitLedger.SplitLedger_InsufficientPosition.selector, recipient, needed, position
                );
            }
        }
    }

    function _checkActive(Run memory run, bytes32 recipient, bytes32 platform) private view returns (bytes memory reason) {
        (ParticipantStatus status,) = run.standing(recipient, platform);
        if (status != ParticipantStatus.ACTIVE) {
            return abi.encodeWithSelector(ISplitLedger.SplitLedger_RecipientNotActive.selector, recipient);
        }
    }

    function _checkConsenting(Run memory run, bytes32 recipient, bytes32 platform)
        private
        view
        returns (bytes memory reason)
    {
        (ParticipantStatus status, bool consented) = run.standing(recipient, platform);
        if (status != ParticipantStatus.ACTIVE) {
            return abi.encodeWithSelector(ISplitLedger.SplitLedger_RecipientNotActive.selector, recipient);
        }
        if (!consented) {
            return
                abi.encodeWithSelector(ISplitLedger.SplitLedger_RecipientNotConsented.selector, recipient, platform);
        }
    }

    function _bindingCount(uint256 count, uint256 expected) private pure returns (bytes memory) {
        return abi.encodeWithSelector(ISplitLedger.SplitLedger_BindingCount.selector, count, expected);
    }

    function _malformed(bytes32 id) private pure returns (bytes memory) {
        return abi.encodeWithSelector(ISplitLedger.SplitLedger_MalformedInstruction.selector, id);
    }

    function _reason(bytes4 selector) private pure returns (bytes memory) {
        return abi.encodePacked(selector);
    }

    /// @dev Memory of a settled split is given back, so that a long batch does not pay for growing memory. Nothing
    /// allocated after the mark may be used after the rewind.
    function _mark() private pure returns (uint256 mark) {
        assembly ("memory-safe") {
            mark := mload(0x40)
        }
    }

    function _rewind(uint256 mark) private pure {
        assembly ("memory-safe") {
            mstore(0x40, mark)
        }
    }
}
