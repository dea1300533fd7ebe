// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {Obstacle} from "../interfaces/IConditions.sol";
import {RuleState} from "../interfaces/IRuleBook.sol";
import {
    Capture,
    ISplitLedger,
    Instruction,
    InstructionKind,
    OrderWitness,
    PastRecord,
    RecordKind
} from "../interfaces/ISplitLedger.sol";
import {Allocations} from "./Allocations.sol";
import {Allocator} from "./Allocator.sol";
import {BatchRoot} from "./BatchRoot.sol";
import {OrderSlot} from "./OrderSlot.sol";
import {Past} from "./Past.sol";
import {Cursor, LoadedRule, Run, Runs} from "./Runs.sol";
import {Typed} from "./Typed.sol";
import {Suspense} from "./Suspense.sol";
import {Words} from "./Words.sol";

/// @title What an instruction does to an order, positions and totals
/// @notice Functions return the reason of a rejection (an encoded custom error), or nothing when it settled.
/// The order of the checks is part of the specification: domain/settlement.py gives the same first reason.
library Settlement {
    using OrderSlot for uint256;
    using Runs for Run;
    using Runs for Cursor;

    /// @notice Largest amount of one order, so that every mirror can keep amounts as signed 64-bit integers.
    uint256 internal constant MAX_AMOUNT = type(uint64).max >> 1;

    /// @dev Amounts are at most MAX_AMOUNT per order, and what an order holds is part of `held`, so unchecked sums hold.
    struct Totals {
        uint128 captured;
        uint128 held;
    }

    struct Order {
        uint256 slot;
    }

    /// @dev LedgerView knows their order.
    struct Books {
        mapping(bytes32 orderId => Order) orders;
        mapping(bytes3 currency => mapping(bytes32 participant => int256 amount)) positions;
        mapping(bytes3 currency => Totals) totals;
        mapping(bytes3 currency => bool) enabled;
        mapping(bytes3 currency => uint256 amount) refunded;
        mapping(bytes32 orderId => uint256 amount) sharedOut;
    }

    /// @notice Takes up a witness. One that does not match the order's slot leaves the order unknown to this transaction.
    function witness(Books storage books, Run memory run, OrderWitness calldata given) internal view {
        Capture calldata capture_ = given.capture;
        bytes32 captureHash = Typed.hash(given, capture_);
        run.addCursor(capture_, captureHash);
        Cursor memory cursor = run.cursor;
        cursor.head = given.head;
        cursor.setWitness(given);
        if (Typed.conditionOf(capture_) != 0) run.stops |= Runs.CONDITIONAL;
        uint256 slot = books.orders[capture_.orderId].slot;
        if (slot != 0 && slot.matches(captureHash, given.head)) cursor.slot = slot;
    }

    /// @notice Captures the order that was selected.
    function capture(Books storage books, Run memory run) internal returns (bytes memory reason) {
        Cursor memory cursor = run.cursor;
        Capture calldata c = cursor.captureOf();
        uint256 amount = Typed.amountOf(c);
        // check
        if (amount == 0) return _reason(ISplitLedger.SplitLedger_ZeroAmount.selector);
        if (amount > MAX_AMOUNT) {
            return abi.encodeWithSelector(ISplitLedger.SplitLedger_AmountAboveLimit.selector, amount, MAX_AMOUNT);
        }
        bool usual = run.hasTermsOf(c); // what else is looked at was found good for the capture before
        if (!usual) {
            run.setTerms(false);
            _selectCurrency(books, run, c);
            if (!run.enabled) {
                return abi.encodeWithSelector(ISplitLedger.SplitLedger_CurrencyNotEnabled.selector, c.currency);
            }
            run.selectPlatform(c.platform);
            if (!run.platformActive) {
                return abi.encodeWithSelector(ISplitLedger.SplitLedger_PlatformNotActive.selector, c.platform);
            }
        }
        Order storage order = books.orders[c.orderId];
        if (order.slot != 0) {
            return abi.encodeWithSelector(ISplitLedger.SplitLedger_OrderAlreadyCaptured.selector, c.orderId);
        }
        if (!usual) {
            run.selectRule(c);
            if (run.rule.state != RuleState.IN_FORCE) {
                return abi.encodeWithSelector(
                    ISplitLedger.SplitLedger_RuleNotInForce.selector, c.ruleId, c.ruleVersion, run.rule.state
                );
            }
            if (run.rule.scheduled) {
                bytes32 selected = run.selectedRule(c);
                if (selected != c.ruleId) {
                    return abi.encodeWithSelector(
                        ISplitLedger.SplitLedger_RuleNotSelected.selector, c.ruleId, selected
                    );
                }
            }
            run.setTerms(!run.rule.scheduled); // a schedule looks at the amount and facts of each order
        }
        reason = _checkCaptureParties(run, c);
        if (reason.length != 0) return reason;
        if (Typed.termsOf(c) != 0) {
            reason = _tellTerms(run, c);
            if (reason.length != 0) return reason;
        }
        // effect
        uint256 slot = OrderSlot.pack(cursor.captureHash, bytes32(0), amount);
        cursor.slot = slot;
        order.slot = slot;
        unchecked {
            run.captured += amount;
            run.held += amount;
        }
        _emitOrderCaptured(c);
        run.addLeaf(BatchRoot.leaf(RecordKind.CAPTURE, c.orderId, c.orderId, amount, cursor.captureHash));
    }

    /// @notice Whether this transaction knows enough of the order to decide an instruction: its state, or that it has
    /// none; for a RETURN or REFUND its opened past; and for a SPLIT or RELEASE that its condition is not open.
    function isReady(Books storage books, Run memory run, Instruction calldata i, uint256 index)
        internal
        returns (bool)
    {
        if (index >= run.cursorCount) return books.orders[i.orderId].slot == 0;
        run.selectCursor(index);
        Cursor memory cursor = run.cursor;
        if (cursor.captureOf().orderId != i.orderId) return false;
        if (cursor.slot == 0) return books.orders[i.orderId].slot == 0;
        if (!_endsHolding(Typed.kindOf(i))) return Past.head(cursor) == cursor.head;
        (Obstacle what,) = run.obstacle(bytes32(0), true);
        return what != Obstacle.CONDITION_OPEN;
    }

    /// @notice Carries out one instruction that isReady, of the platform that was selected.
    function execute(Books storage books, Run memory run, bytes32 platform, Instruction calldata i, uint256 index)
        internal
        returns (bytes memory)
    {
        if (index >= run.cursorCount) return _unknownOrder(i.orderId);
        run.selectCursor(index);
        Cursor memory cursor = run.cursor;
        if (cursor.slot == 0) return _unknownOrder(i.orderId);
        // A second witness of the same order (or one of an order captured here) would be outdated by what the first one did.
        if (run.witnessed) {
            if (books.orders[i.orderId].slot != cursor.slot) revert ISplitLedger.SplitLedger_OrderChanged(i.orderId);
        }
        if (cursor.captureOf().platform != platform) {
            return abi.encodeWithSelector(ISplitLedger.SplitLedger_NotOrderPlatform.selector, i.orderId, platform);
        }
        uint256 kind = Typed.kindOf(i);
        if (Typed.timesOf(cursor.captureOf()) | run.stops != 0) {
            bytes memory reason = _stopped(run, kind);
            if (reason.length != 0) return reason;
        }
        if (kind == uint256(InstructionKind.SPLIT)) return _split(books, run, i);
        if (kind == uint256(InstructionKind.RELEASE)) return _release(books, run, i);
        if (kind == uint256(InstructionKind.RETURN)) return _return(books, run, i);
        return _refund(books, run, i);
    }

    /// @notice Kind of the record that an instruction makes when it settles.
    function recordOf(Instruction calldata i) internal pure returns (RecordKind) {
        uint256 kind = Typed.kindOf(i);
        return kind == uint256(InstructionKind.REFUND) ? RecordKind.REFUND : RecordKind(kind + 1);
    }

    /// @notice Refunds the order whose witness was taken up last, if its condition was missed; releases it, if it has expired.
    function expire(Books storage books, Run memory run) internal returns (bytes memory reason) {
        Cursor memory cursor = run.cursor;
        Capture calldata c = cursor.captureOf();
        if (cursor.slot == 0) {
            if (books.orders[c.orderId].slot == 0) return _unknownOrder(c.orderId);
            return abi.encodeWithSelector(ISplitLedger.SplitLedger_OutdatedWitness.selector, c.orderId);
        }
        Obstacle what;
        (what, reason) = run.obstacle(bytes32(0), true);
        if (what == Obstacle.CONDITION_MISSED) return _refundHeld(books, run);
        if (reason.length != 0) return reason;
        if (!_hasExpired(c)) {
            return _timed(ISplitLedger.SplitLedger_OrderNotExpired.selector, c.orderId, Typed.expiresAtOf(c));
        }
        run.selectPlatform(c.platform);
        return _releaseHeld(books, run, c.orderId);
    }

    /// @dev Whether an instruction lets recipients or the merchant have what an order holds: a SPLIT or RELEASE.
    function _endsHolding(uint256 kind) private pure returns (bool) {
        return kind <= uint256(InstructionKind.RELEASE);
    }

    /// @dev Why nothing of this kind may be done on the order now: it is frozen, its condition was missed, it is on hold or expired.
    function _stopped(Run memory run, uint256 kind) private returns (bytes memory reason) {
        Capture calldata c = run.cursor.captureOf();
        (, reason) = run.obstacle(bytes32(0), _endsHolding(kind));
        if (reason.length != 0) return reason;
        if (block.timestamp < Typed.holdUntilOf(c) && kind != uint256(InstructionKind.REFUND)) {
            return _timed(ISplitLedger.SplitLedger_OnHold.selector, c.orderId, Typed.holdUntilOf(c));
        }
        if (kind == uint256(InstructionKind.SPLIT) && _hasExpired(c)) {
            return _timed(ISplitLedger.SplitLedger_OrderExpired.selector, c.orderId, Typed.expiresAtOf(c));
        }
    }

    function _hasExpired(Capture calldata c) private view returns (bool) {
        uint256 expiresAt = Typed.expiresAtOf(c);
        return expiresAt != 0 && block.timestamp >= expiresAt;
    }

    function _timed(bytes4 selector, bytes32 orderId, uint256 time) private pure returns (bytes memory) {
        return abi.encodeWithSelector(selector, orderId, time);
    }

    /// @notice Writes back what is pending in the currency that was worked on, and its totals.
    function close(Books storage books, Run memory run) internal {
        run.flush();
        uint256 totals = run.held << 128 | run.captured;
        if (totals == run.totals) return;
        books.totals[bytes3(bytes32(run.currency))] = Totals(uint128(run.captured), uint128(run.held));
        run.totals = totals;
    }

    function _split(Books storage books, Run memory run, Instruction calldata i) private returns (bytes memory reason) {
        Cursor memory cursor = run.cursor;
        uint256 held = cursor.slot.held();
        uint256 amount = Typed.amountOf(i);
        // check
        if (uint256(i.splitId) | Typed.amountsOf(i).length != 0) {
            if (i.splitId != bytes32(0) || !_mayGive(run, i)) return _malformed(i.id);
        }
        if (amount == 0) return _reason(ISplitLedger.SplitLedger_ZeroAmount.selector);
        if (amount > held) {
            return abi.encodeWithSelector(
                ISplitLedger.SplitLedger_InsufficientHeld.selector, i.orderId, amount, held
            );
        }
        _selectRule(run);
        uint256 mark = Words.mark(); // behind the rule, which stays
        uint256 list;
        (list, reason) = _allocate(run, i);
        if (reason.length != 0) return reason;
        if (run.caps != 0) {
            reason = _shareOut(books, run, i, list, held - amount);
            if (reason.length != 0) return reason;
        }
        // effect
        _selectCurrency(books, run, cursor.captureOf());
        run.credit(list);
        bytes32 content = Allocations.emitOrderSplit(list, i.orderId, i.id);
        unchecked {
            run.held -= amount;
            _record(books, run, RecordKind.SPLIT, i.id, amount, content, held - amount);
        }
        Words.rewind(mark);
    }

    /// @dev The allocations of a split by the selected rule in memory, or why there are none.
    function _allocate(Run memory run, Instruction calldata i) private view returns (uint256 list, bytes memory reason) {
        LoadedRule memory rule = run.rule;
        if (rule.given != 0) {
            reason = _give(rule, Typed.amountsOf(i));
            if (reason.length != 0) return (list, reason);
        }
        uint256 payees;
        (payees, list) = Allocations.prepare(
            Typed.bindingsOf(run.cursor.captureOf()),
            rule.recipients,
            Typed.amountOf(i),
            rule.leaves,
            Allocator.words(rule.legs.length)
        );
        if (run.cursor.unbound() | Typed.bindingsOf(i).length != 0) {
            reason = _bind(run, i, payees);
            if (reason.length != 0) return (list, reason);
        }
        (uint256 failed, uint256 take, uint256 remaining) =
            Allocator.allocate(rule.legs, Typed.amountOf(i), rule.leaves, payees, Allocations.first(list));
        if (failed != Allocator.NONE) {
            reason = Allocator.refusal(rule.legs, failed, take, remaining);
        } else if (run.cursor.unbound() | rule.recipients.length != 0) {
            reason = _checkActive(run, list);
        }
    }

    /// @dev Counts what a split of a capped order gives to others than its merchant, or tells that it is too much. While the
    /// order holds nothing there is nothing to count for: what makes it hold money again is a return, which recounts.
    function _shareOut(Books storage books, Run memory run, Instruction calldata i, uint256 list, uint256 held)
        private
        returns (bytes memory reason)
    {
        uint256 cap = _cap(run);
        if (cap == 0) return reason;
        Capture calldata c = run.cursor.captureOf();
        uint256 leaving = i.amount - Allocations.amountOf(list, c.merchant);
        uint256 out = books.sharedOut[i.orderId];
        uint256 left = c.amount * cap / Allocator.BASIS_POINTS;
        left = left > out ? left - out : 0;
        if (leaving > left) {
            return abi.encodeWithSelector(
                ISplitLedger.SplitLedger_ShareOutAboveCap.selector, i.orderId, leaving, left
            );
        }
        if (leaving != 0 && held | out != 0) books.sharedOut[i.orderId] = out + leaving;
    }

    /// @dev The smaller one of the caps of the selected rule and of the platform; 0 for none.
    function _cap(Run memory run) private pure returns (uint256 cap) {
        cap = run.rule.terms.maxShareOut;
        if (cap == 0 || (run.maxShareOut != 0 && run.maxShareOut < cap)) cap = run.maxShareOut;
    }

    /// @dev One amount for each GIVEN leg of the rule.
    function _give(LoadedRule memory rule, uint96[] calldata amounts) private pure returns (bytes memory reason) {
        if (amounts.length != rule.given) {
            return abi.encodeWithSelector(ISplitLedger.SplitLedger_GivenCount.selector, amounts.length, rule.given);
        }
        Allocator.give(rule.legs, amounts);
    }

    /// @dev Whether the order's rule has GIVEN legs, and what the split gives are amounts, whatever their number.
    function _mayGive(Run memory run, Instruction calldata i) private view returns (bool fit) {
        _selectRule(run);
        if (run.rule.given == 0) return false; // not to be inlined, see Recipients.credit
        (fit,) = Typed.sumOf(Typed.amountsOf(i));
    }

    /// @dev The rule by which the order was captured.
    function _selectRule(Run memory run) private view {
        Cursor memory cursor = run.cursor;
        if (cursor.witness == 0) run.rule = cursor.rule;
        else run.selectRule(cursor.captureOf());
    }

    function _release(Books storage books, Run memory run, Instruction calldata i)
        private
        returns (bytes memory reason)
    {
        uint256 words = Typed.bindingsOf(i).length + Typed.amountsOf(i).length;
        if (i.splitId != bytes32(0) || i.amount != 0 || words != 0) return _malformed(i.id);
        return _releaseHeld(books, run, i.id);
    }

    /// @dev What the order holds goes to its merchant, as the release `id`.
    function _releaseHeld(Books storage books, Run memory run, bytes32 id) private returns (bytes memory reason) {
        Cursor memory cursor = run.cursor;
        Capture calldata c = cursor.captureOf();
        uint256 held = cursor.slot.held();
        // check
        if (held == 0) return _nothingHeld(c.orderId);
        if (!Runs.isActive(run.standing(c.merchant))) return _notActive(c.merchant);
        // effect
        books.positions[c.currency][c.merchant] += int256(held);
        _selectCurrency(books, run, c);
        run.held -= held;
        emit ISplitLedger.OrderReleased(c.orderId, id, c.merchant, uint96(held));
        _record(books, run, RecordKind.RELEASE, id, held, c.merchant, 0);
    }

    function _return(Books storage books, Run memory run, Instruction calldata i)
        private
        returns (bytes memory reason)
    {
        Cursor memory cursor = run.cursor;
        Capture calldata c = cursor.captureOf();
        // check
        if (Typed.bindingsOf(i).length != 0) return _malformed(i.id);
        uint256 takes;
        (takes, reason) = Past.takeBack(cursor, i);
        if (reason.length == 0) reason = _debit(books, run, i, takes);
        if (reason.length != 0) return reason;
        // effect
        _selectRule(run);
        if (_cap(run) != 0) {
            books.sharedOut[i.orderId] =
                Past.sharedOut(cursor) - (i.amount - Allocations.amountOf(takes, c.merchant));
        }
        _selectCurrency(books, run, c);
        run.held += i.amount;
        bytes32 content = Allocations.emitSplitReturned(takes, i.orderId, i.id, i.splitId, i.amount);
        _record(books, run, RecordKind.RETURN, i.id, i.amount, content, cursor.slot.held() + i.amount);
    }

    function _refund(Books storage books, Run memory run, Instruction calldata i)
        private
        returns (bytes memory reason)
    {
        Cursor memory cursor = run.cursor;
        uint256 held = cursor.slot.held();
        uint256 fromHeld = Math.min(held, i.amount);
        // check
        uint256 words = Typed.bindingsOf(i).length + Typed.amountsOf(i).length;
        if (i.splitId != bytes32(0) || words != 0) return _malformed(i.id);
        uint256 takes;
        (takes, reason) = Past.takeForRefund(cursor, i, held);
        if (reason.length == 0 && fromHeld != i.amount) reason = _debit(books, run, i, takes);
        if (reason.length != 0) return reason;
        // effect
        _giveToBuyer(books, run, i.id, i.amount, fromHeld, takes);
    }

    /// @dev What the order holds is its buyer's again.
    function _refundHeld(Books storage books, Run memory run) private returns (bytes memory reason) {
        bytes32 orderId = run.cursor.captureOf().orderId;
        uint256 held = run.cursor.slot.held();
        // check
        if (held == 0) return _nothingHeld(orderId);
        // effect
        _giveToBuyer(books, run, orderId, held, held, Allocations.create(0));
    }

    /// @param takes what leaves give to it, besides `fromHeld`.
    function _giveToBuyer(
        Books storage books,
        Run memory run,
        bytes32 id,
        uint256 amount,
        uint256 fromHeld,
        uint256 takes
    ) private {
        Cursor memory cursor = run.cursor;
        Capture calldata c = cursor.captureOf();
        _selectCurrency(books, run, c);
        run.held -= fromHeld;
        books.refunded[c.currency] += amount;
        bytes32 content = Allocations.emitOrderRefunded(takes, c.orderId, id, amount, fromHeld);
        _record(books, run, RecordKind.REFUND, id, amount, content, cursor.slot.held() - fromHeld);
    }

    /// @dev Writes the order's slot and adds the record's leaf to its chain and to the batch.
    function _record(
        Books storage books,
        Run memory run,
        RecordKind kind,
        bytes32 id,
        uint256 amount,
        bytes32 content,
        uint256 held
    ) private {
        Cursor memory cursor = run.cursor;
        bytes32 orderId = cursor.captureOf().orderId;
        bytes32 leaf = BatchRoot.leaf(kind, id, orderId, amount, content);
        run.addLeaf(leaf);
        bytes32 head = OrderSlot.advance(cursor.head, leaf);
        cursor.head = head;
        uint256 slot = OrderSlot.pack(cursor.captureHash, head, held);
        cursor.slot = slot;
        books.orders[orderId].slot = slot;
    }

    /// @dev Checks the terms of an order that is about to be captured, lets it join its condition, and tells them before it is
    /// captured.
    function _tellTerms(Run memory run, Capture calldata c) private returns (bytes memory reason) {
        uint64 holdUntil = uint64(Typed.holdUntilOf(c));
        uint64 expiresAt = uint64(Typed.expiresAtOf(c));
        if (expiresAt != 0 && holdUntil >= expiresAt) {
            return abi.encodeWithSelector(ISplitLedger.SplitLedger_HoldBeyondExpiry.selector, holdUntil, expiresAt);
        }
        if (Typed.conditionOf(c) != 0) {
            reason = run.joinCondition();
            if (reason.length != 0) return reason;
        }
        emit ISplitLedger.OrderTerms(c.orderId, holdUntil, expiresAt, c.facts, c.condition);
    }

    /// @dev Notes in the cursor by which rule the order is captured, and whether all its recipients were looked at.
    function _checkCaptureParties(Run memory run, Capture calldata c) private view returns (bytes memory reason) {
        LoadedRule memory rule = run.rule;
        run.cursor.rule = rule;
        bytes32[] calldata bindings = Typed.bindingsOf(c);
        if (bindings.length != rule.roles.length) return _bindingCount(bindings.length, rule.roles.length);
        // Nearly always: everybody was looked at before, and the merchant is the last one bound.
        uint256 good = run.countGood(bindings);
        if (good ^ bindings.length | uint256(Typed.lastBindingOf(c) ^ c.merchant) == 0 && good != 0) {
            run.cursor.bound = 1;
            return reason;
        }
        reason = _checkConsenting(run, c.merchant, c.platform);
        uint256 bound = 1;
        for (uint256 r = good; r < bindings.length && reason.length == 0; ++r) {
            if (bindings[r] == bytes32(0)) bound = 0;
            else reason = _checkConsenting(run, bindings[r], c.platform);
        }
        run.cursor.bound = bound;
    }

    /// @dev One participant per role: the order's, or where the order left the role open the instruction's, which is put
    /// among the payees.
    function _bind(Run memory run, Instruction calldata i, uint256 payees) private view returns (bytes memory reason) {
        Capture calldata c = run.cursor.captureOf();
        bytes32[] calldata own = Typed.bindingsOf(i);
        bytes32[] calldata bindings = Typed.bindingsOf(c);
        if (own.length != 0 && own.length != bindings.length) return _bindingCount(own.length, bindings.length);
        for (uint256 r = 0; r < bindings.length; ++r) {
            bytes32 bound = bindings[r];
            bytes32 given = own.length == 0 ? bytes32(0) : own[r];
            if (bound == bytes32(0)) {
                if (given == bytes32(0)) return _roleNotBound(run.rule.roles[r]);
                reason = _checkConsenting(run, given, c.platform);
                Words.put(payees + 32 * r, uint256(given));
            } else if (given != bytes32(0) && given != bound) {
                reason = abi.encodeWithSelector(
                    ISplitLedger.SplitLedger_RoleAlreadyBound.selector, run.rule.roles[r], bound
                );
            }
            if (reason.length != 0) return reason;
        }
    }

    /// @dev Takes from positions leaf by leaf, or from none. In the place of a position that falls short its participant's other
    /// one gives (its suspense position, or its own) if that has as much, else the heir of a suspense position. Those that fall
    /// short become negative if the order's rule lets its recipients owe. Else the first is named, with what it must give up to
    /// there, for it may stand on several leaves. Leaves of 0 touch nobody.
    function _debit(Books storage books, Run memory run, Instruction calldata i, uint256 takes)
        private
        returns (bytes memory reason)
    {
        reason = _checkNotFrozen(run, i, takes);
        if (reason.length != 0) return reason;
        run.flush();
        mapping(bytes32 participant => int256 amount) storage positions =
            books.positions[run.cursor.captureOf().currency];
        uint256 count = Allocations.count(takes);
        for (uint256 k = 0; k < count; ++k) {
            uint256 needed = Allocations.amountAt(takes, k);
            if (needed == 0) continue;
            bytes32 recipient = Allocations.recipientAt(takes, k);
            int256 left = positions[recipient] - int256(needed);
            if (left < 0) {
                bytes32 other = Suspense.idOf(recipient);
                if (positions[other] < int256(needed)) other = _heirOf(run, recipient);
                if (other != bytes32(0)) {
                    recipient = other;
                    Allocations.setRecipientAt(takes, k, recipient);
                    left = positions[recipient] - int256(needed);
                }
            }
            if (left >= 0 || _mayOwe(run)) {
                positions[recipient] = left;
                continue;
            }
            for (uint256 j = 0; j < k; ++j) {
                uint256 taken = Allocations.amountAt(takes, j);
                positions[Allocations.recipientAt(takes, j)] += int256(taken);
                if (Allocations.recipientAt(takes, j) == recipient) needed += taken;
            }
            return abi.encodeWithSelector(
                ISplitLedger.SplitLedger_InsufficientPosition.selector, recipient, needed, positions[recipient]
            );
        }
    }

    /// @dev Whether money may be taken from these positions. A RETURN names the split that gave it, a REFUND takes from all.
    function _checkNotFrozen(Run memory run, Instruction calldata i, uint256 takes)
        private
        returns (bytes memory reason)
    {
        PastRecord[] calldata past = run.cursor.pastOf();
        for (uint256 k = 0; k < past.length; ++k) {
            bytes32 id = past[k].id;
            if (past[k].kind != RecordKind.SPLIT || (i.splitId != bytes32(0) && i.splitId != id)) continue;
            (, reason) = run.obstacle(id, false);
            if (reason.length != 0) return reason;
        }
        if (!run.mayBeFrozen()) return reason;
        uint256 count = Allocations.count(takes);
        for (uint256 k = 0; k < count; ++k) {
            bytes32 recipient = Allocations.recipientAt(takes, k);
            bool frozen = run.isFrozen(recipient) || run.isFrozen(Suspense.idOf(recipient));
            if (Allocations.amountAt(takes, k) != 0 && frozen) {
                return abi.encodeWithSelector(ISplitLedger.SplitLedger_ParticipantFrozen.selector, recipient);
            }
        }
    }

    /// @dev For whom a suspense position is, if that one's positions may be taken from; else zero, as for any other position.
    function _heirOf(Run memory run, bytes32 recipient) private view returns (bytes32 heir) {
        heir = run.registry.heirOf(Suspense.idOf(recipient));
        if (heir != bytes32(0) && run.mayBeFrozen() && run.isFrozen(heir)) heir = bytes32(0);
    }

    function _mayOwe(Run memory run) private view returns (bool) {
        _selectRule(run);
        return run.rule.terms.mayOwe;
    }

    /// @dev All recipients of a split, in leg order. The shares of those that are not active any more are for their suspense
    /// positions, if the rule parks them.
    function _checkActive(Run memory run, uint256 list) private view returns (bytes memory reason) {
        uint256 count = Allocations.count(list);
        for (uint256 k = 0; k < count; ++k) {
            bytes32 recipient = Allocations.recipientAt(list, k);
            uint256 standing = run.standing(recipient);
            if (Runs.isActive(standing)) continue;
            if (!run.rule.terms.park || !Runs.isEnrolled(standing)) return _notActive(recipient);
            Allocations.setRecipientAt(list, k, Suspense.idOf(recipient));
        }
    }

    function _checkConsenting(Run memory run, bytes32 recipient, bytes32 platform)
        private
        view
        returns (bytes memory reason)
    {
        uint256 standing = run.standing(recipient);
        if (standing == Runs.GOOD) return reason;
        if (!Runs.isActive(standing)) return _notActive(recipient);
        return abi.encodeWithSelector(ISplitLedger.SplitLedger_RecipientNotConsented.selector, recipient, platform);
    }

    function _notActive(bytes32 recipient) private pure returns (bytes memory) {
        return abi.encodeWithSelector(ISplitLedger.SplitLedger_RecipientNotActive.selector, recipient);
    }

    function _nothingHeld(bytes32 orderId) private pure returns (bytes memory) {
        return abi.encodeWithSelector(ISplitLedger.SplitLedger_NothingHeld.selector, orderId);
    }

    function _unknownOrder(bytes32 orderId) private pure returns (bytes memory) {
        return abi.encodeWithSelector(ISplitLedger.SplitLedger_UnknownOrder.selector, orderId);
    }

    /// @dev Works on the currency of a capture from now on.
    function _selectCurrency(Books storage books, Run memory run, Capture calldata c) private {
        if (run.currency == Typed.currencyOf(c)) return;
        close(books, run);
        bytes3 currency = c.currency;
        Totals storage totals = books.totals[currency];
        mapping(bytes32 participant => int256 amount) storage positions = books.positions[currency];
        uint256 slot;
        assembly ("memory-safe") {
            slot := positions.slot
        }
        run.currency = Typed.currencyOf(c);
        run.positions = slot;
        run.captured = totals.captured;
        run.held = totals.held;
        run.totals = run.held << 128 | run.captured;
        run.enabled = books.enabled[currency];
    }

    /// @dev emit OrderCaptured(...): its data are fields of the capture and its bindings, which stand together in calldata.
    function _emitOrderCaptured(Capture calldata c) private {
        bytes32 topic = ISplitLedger.OrderCaptured.selector;
        assembly ("memory-safe") {
            let m := mload(0x40)
            let bindings := shl(5, add(calldataload(add(c, 0x180)), 1))
            calldatacopy(m, add(c, 0x40), 0xa0)
            mstore(add(m, 0xa0), 0xc0)
            calldatacopy(add(m, 0xc0), add(c, 0x180), bindings)
            log3(m, add(0xc0, bindings), topic, calldataload(c), calldataload(add(c, 0x20)))
        }
    }

    function _roleNotBound(bytes32 role) private pure returns (bytes memory) {
        return abi.encodeWithSelector(ISplitLedger.SplitLedger_RoleNotBound.selector, role);
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
}
