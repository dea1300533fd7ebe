// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IConditions, Obstacle} from "../interfaces/IConditions.sol";
import {IParticipantRegistry, ParticipantStatus} from "../interfaces/IParticipantRegistry.sol";
import {IRuleBook, Leg, RuleState, RuleTerms} from "../interfaces/IRuleBook.sol";
import {ISchedules} from "../interfaces/ISchedules.sol";
import {
    Attestation,
    Authorization,
    Capture,
    Instruction,
    InstructionKind,
    OrderWitness,
    PastRecord
} from "../interfaces/ISplitLedger.sol";
import {Allocations} from "./Allocations.sol";
import {Allocator} from "./Allocator.sol";
import {BatchRoot} from "./BatchRoot.sol";
import {RuleTree} from "./RuleTree.sol";
import {Recipients} from "./Recipients.sol";
import {Typed} from "./Typed.sol";
import {Words} from "./Words.sol";

/// @notice What this transaction knows of one order. `slot` is 0 while it is not known: no valid witness was given, and it
/// was not captured here. `capture` and `witness` are calldata positions, so that nothing is copied; `witness` is 0 for
/// an order captured here. `bound` is 1 if it was captured here with every role bound, so that all its recipients were
/// looked at. `rule` is there for an order captured here only.
struct Cursor {
    uint256 slot;
    bytes32 captureHash;
    bytes32 head;
    uint256 capture;
    uint256 witness;
    uint256 bound;
    LoadedRule rule;
}

/// @notice A rule version, loaded once a transaction. The payees of a split are the participants bound to its `roles`,
/// followed by the `recipients` that legs fix. `legs` are packed for Allocator; so many of them are `given` their amounts.
/// `scheduled`: its platform has a schedule in force, which says of which orders the rule is.
struct LoadedRule {
    bytes32 platform;
    bytes32 ruleId;
    uint256 version;
    RuleState state;
    RuleTerms terms;
    bytes32[] roles;
    bytes32[] recipients;
    uint256[] legs;
    uint256 leaves;
    uint256 given;
    bool scheduled;
}

/// @notice Working memory of one `settle` transaction. What is worked on is kept at hand: an order's `cursor`, a `rule`, a
/// platform, a currency; `select…` changes it.
/// `platformNumber` is what Recipients knows the platform by (0 if it has no number), `platformActive` whether it was
/// seen to be. `positions` is the slot of the currency's mapping of positions; its totals are written back when
/// another currency's turn comes, `totals` is what storage holds; and so are positions that have something `pending`.
/// `freezes` is 1 when no participant is frozen, 2 when some are, 0 while nobody asked.
/// `cursors`, `leavesEnd`, `lastLeaf`, `recipients` and `pending` are positions in memory. `maxShareOut` is the cap of the
/// platform whose authorization is carried out; while `caps` is 0, no rule or platform so far had one, and splits need not
/// be looked at more closely. `stops` is not 0 while something other than its times may stop an order: bits Runs.FROZEN and
/// Runs.CONDITIONAL.
struct Run {
    Cursor cursor; // the first field, see selectCursor
    LoadedRule rule;
    uint256 currency;
    uint256 positions;
    uint256 totals;
    uint256 captured;
    uint256 held;
    bool enabled;
    bytes32 platform;
    uint256 platformNumber;
    bool platformActive;
    uint256 terms;
    uint256 cursors;
    uint256 cursorCount;
    uint256 leavesEnd;
    uint256 lastLeaf;
    uint256 recipients;
    uint256 recipientsMask;
    uint256 pending;
    bool witnessed;
    IParticipantRegistry registry;
    IRuleBook ruleBook;
    IConditions conditions;
    uint256 stops;
    uint256 instructions;
    LoadedRule[] rules;
    uint256 ruleCount;
    bytes32[] platforms;
    uint256 platformCount;
    uint256 freezes;
    uint256 maxShareOut;
    uint256 caps;
}

/// @title Working memory of a transaction: orders by index, leaves, and what registry and rule book said
library Runs {
    /// @notice Index of an order that the chain does not know.
    uint256 internal constant UNKNOWN = 0xffff;
    /// @notice In `stops`: some order or split is frozen.
    uint256 internal constant FROZEN = 1;
    /// @notice In `stops`: an order of this transaction has a condition.
    uint256 internal constant CONDITIONAL = 2;
    /// @notice Standing of a recipient that is ACTIVE and consented. See `standing`.
    uint256 internal constant GOOD = CONSENTED | uint256(ParticipantStatus.ACTIVE) << 1 | 1;
    uint256 private constant CONSENTED = 0x80;
    /// @dev No three letters.
    uint256 private constant NO_CURRENCY = type(uint256).max;
    uint256 private constant MAX_RULES = 64;
    uint256 private constant MAX_PLATFORMS = 64;
    uint256 private constant CURSOR = 0xe0;

    function open(
        Attestation[] calldata attestations,
        Authorization[] calldata authorizations,
        uint256 witnesses,
        IParticipantRegistry registry,
        IRuleBook ruleBook,
        IConditions conditions
    ) internal pure returns (Run memory run) {
        uint256 captures;
        for (uint256 i = 0; i < attestations.length; ++i) {
            captures += attestations[i].captures.length;
        }
        for (uint256 i = 0; i < authorizations.length; ++i) {
            run.instructions += authorizations[i].instructions.length;
        }
        run.ruleBook = ruleBook;
        run.rules = _rules();
        run.witnessed = witnesses != 0;
        _prepare(run, registry, conditions, captures + witnesses, captures + run.instructions);
    }

    /// @notice For `expire`: neither captures nor instructions, and a record for each order at most.
    function openForExpiry(uint256 orders, IParticipantRegistry registry, IConditions conditions)
        internal
        pure
        returns (Run memory run)
    {
        _prepare(run, registry, conditions, orders, orders);
    }

    /// @param records how many there are at most.
    function _prepare(
        Run memory run,
        IParticipantRegistry registry,
        IConditions conditions,
        uint256 orders,
        uint256 records
    ) private pure {
        run.registry = registry;
        run.conditions = conditions;
        run.cursors = _cleared(orders * (CURSOR / 32));
        run.lastLeaf = run.leavesEnd = BatchRoot.allocate(records);
        run.currency = NO_CURRENCY;
        run.platforms = new bytes32[](MAX_PLATFORMS);
        (run.recipients, run.recipientsMask) = Recipients.create(records);
    }

    // ---------------------------------------------------------------------- orders

    /// @notice Appends and selects a cursor for the order of `capture`, not known yet.
    function addCursor(Run memory run, Capture calldata capture, bytes32 captureHash) internal pure {
        uint256 position;
        assembly ("memory-safe") {
            position := capture
        }
        unchecked {
            selectCursor(run, run.cursorCount++);
        }
        Cursor memory cursor = run.cursor;
        cursor.captureHash = captureHash;
        cursor.capture = position;
    }

    /// @notice How many of the leading instructions need no past (SPLIT, RELEASE) and are of orders that are known at their index.
    /// None of them while an order of the transaction has a condition, which may be open.
    function countReady(Run memory run, Instruction[] calldata instructions, bytes calldata orderIndex)
        internal
        pure
        returns (uint256 count)
    {
        uint256 cursors = run.cursors;
        uint256 known = run.cursorCount;
        uint256 last = uint256(InstructionKind.RELEASE);
        if (instructions.length == 0 || run.stops & CONDITIONAL != 0) return 0; // not to be inlined, see Recipients.credit
        assembly ("memory-safe") {
            for {} lt(count, instructions.length) { count := add(count, 1) } {
                let index := shr(240, calldataload(add(orderIndex.offset, shl(1, count))))
                if iszero(lt(index, known)) { break }
                let cursor := add(cursors, mul(index, CURSOR))
                let instruction := add(instructions.offset, calldataload(add(instructions.offset, shl(5, count))))
                let orderId := calldataload(mload(add(cursor, 0x60)))
                if or(
                    iszero(mload(cursor)),
                    or(xor(calldataload(add(instruction, 0x40)), orderId), gt(calldataload(instruction), last))
                ) { break }
            }
        }
    }

    /// @param index below run.cursorCount.
    function selectCursor(Run memory run, uint256 index) internal pure {
        unchecked {
            uint256 position = run.cursors + index * CURSOR;
            assembly ("memory-safe") {
                mstore(run, position)
            }
        }
    }

    function captureOf(Cursor memory cursor) internal pure returns (Capture calldata capture) {
        uint256 position = cursor.capture;
        assembly ("memory-safe") {
            capture := position
        }
    }

    /// @notice The opened past that its witness gives; empty for an order captured here.
    function pastOf(Cursor memory cursor) internal pure returns (PastRecord[] calldata past) {
        uint256 position = cursor.witness;
        if (position == 0) return _nothing();
        OrderWitness calldata given;
        assembly ("memory-safe") {
            given := position
        }
        return given.past;
    }

    /// @notice 0 if the order was captured here with every role bound, else 1.
    function unbound(Cursor memory cursor) internal pure returns (uint256) {
        return cursor.bound ^ 1;
    }

    function setWitness(Cursor memory cursor, OrderWitness calldata given) internal pure {
        uint256 position;
        assembly ("memory-safe") {
            position := given
        }
        cursor.witness = position;
    }

    /// @notice The i-th two-byte entry of `orderIndex`, which must have so many.
    function indexAt(bytes calldata orderIndex, uint256 i) internal pure returns (uint256 index) {
        assembly ("memory-safe") {
            index := shr(240, calldataload(add(orderIndex.offset, shl(1, i))))
        }
    }

    /// @notice Whether a capture has the platform, rule version and currency of the last one that was looked at in full.
    function hasTermsOf(Run memory run, Capture calldata c) internal pure returns (bool same) {
        uint256 last = run.terms;
        assembly ("memory-safe") {
            function differs(a, b, field) -> difference {
                difference := xor(calldataload(add(a, field)), calldataload(add(b, field)))
            }
            same :=
                iszero(
                    or(
                        or(differs(last, c, 0x20), differs(last, c, 0x60)),
                        or(differs(last, c, 0x80), or(differs(last, c, 0xa0), iszero(last)))
                    )
                )
        }
    }

    /// @param found whether the terms of the order at hand were found good.
    function setTerms(Run memory run, bool found) internal pure {
        run.terms = found ? run.cursor.capture : 0;
    }

    // ---------------------------------------------------------------------- leaves

    function leafCount(Run memory run) internal pure returns (uint256) {
        return (run.leavesEnd - run.lastLeaf) / 32;
    }

    /// @dev There are as many places as captures and instructions, and each adds one leaf at most.
    function addLeaf(Run memory run, bytes32 leaf) internal pure {
        unchecked {
            uint256 position = run.lastLeaf - 32;
            run.lastLeaf = position;
            Words.put(position, uint256(leaf));
        }
    }

    // ---------------------------------------------------------------------- participants

    /// @notice From now on, standings are those of recipients of `platform`.
    function selectPlatform(Run memory run, bytes32 platform) internal view {
        if (run.platform == platform) return;
        run.platform = platform;
        run.platformNumber = _numberOf(run, platform);
        run.platformActive = isActive(standing(run, platform));
    }

    /// @notice How many of the leading `recipients` are known to be GOOD. This is the quick look; ask for `standing` then.
    function countGood(Run memory run, bytes32[] calldata recipients) internal pure returns (uint256) {
        uint256 known = run.platformNumber << 8 | GOOD;
        return Recipients.countKnown(run.recipients, run.recipientsMask, known, recipients);
    }

    /// @notice Status and consent of a recipient towards the platform, in one word: GOOD, or other. The registry is asked
    /// once per transaction and pair.
    function standing(Run memory run, bytes32 recipient) internal view returns (uint256) {
        (uint256 place, uint256 known) =
            Recipients.find(run.recipients, run.recipientsMask, recipient, run.platformNumber);
        return known != 0 ? known : _ask(run, recipient, place);
    }

    /// @notice Whether a guardian has frozen a participant; of zero, whether anybody is frozen.
    function isFrozen(Run memory run, bytes32 participant) internal view returns (bool) {
        return _isFrozen(address(run.registry), participant);
    }

    /// @notice Notes whether any order or split is frozen. To be asked once, before instructions or expiries.
    function lookForFreezes(Run memory run) internal view {
        if (_isFrozen(address(run.conditions), bytes32(0))) run.stops |= FROZEN;
    }

    /// @dev Registry and conditions have the same function for what is theirs.
    function _isFrozen(address keeper, bytes32 what) private view returns (bool frozen) {
        bytes4 selector = IParticipantRegistry.isFrozen.selector;
        bool answered;
        assembly ("memory-safe") {
            mstore(0, selector)
            mstore(0x04, what)
            answered := staticcall(gas(), keeper, 0, 0x24, 0, 0x20)
            answered := and(answered, eq(returndatasize(), 0x20))
            frozen := mload(0)
        }
        require(answered);
    }

    /// @notice Lets the selected order join its condition, or says why it cannot.
    function joinCondition(Run memory run) internal returns (bytes memory reason) {
        run.stops |= CONDITIONAL;
        (, reason) = _ask(run, IConditions.join.selector, Typed.conditionOf(captureOf(run.cursor)), bytes32(0));
    }

    /// @notice What stops the selected order, or a split of it, and why, as IConditions.obstacle says.
    /// @param conditional whether the order's condition may stop it, or a freeze alone.
    function obstacle(Run memory run, bytes32 splitId, bool conditional)
        internal
        returns (Obstacle what, bytes memory reason)
    {
        uint256 condition = conditional ? Typed.conditionOf(captureOf(run.cursor)) : 0;
        if (condition | run.stops & FROZEN != 0) {
            (what, reason) = _ask(run, IConditions.obstacle.selector, condition, splitId);
        }
    }

    /// @dev A function of IConditions about the selected order: `obstacle`, or `join`, which leaves `splitId` unread.
    function _ask(Run memory run, bytes4 selector, uint256 condition, bytes32 splitId)
        private
        returns (Obstacle what, bytes memory reason)
    {
        Capture calldata c = captureOf(run.cursor);
        IConditions conditions = run.conditions;
        bool answered;
        assembly ("memory-safe") {
            let m := mload(0x40)
            mstore(m, selector)
            mstore(add(m, 0x04), calldataload(add(c, 0x20)))
            mstore(add(m, 0x24), condition)
            mstore(add(m, 0x44), calldataload(c))
            mstore(add(m, 0x64), splitId)
            answered := call(gas(), conditions, 0, m, 0x84, 0, 0)
            returndatacopy(m, 0, returndatasize())
            what := mload(m)
            reason := add(m, 0x40)
            mstore(0x40, add(m, returndatasize()))
        }
        require(answered);
    }

    /// @notice Whether anybody is frozen. The registry is asked once per transaction.
    function mayBeFrozen(Run memory run) internal view returns (bool) {
        if (run.freezes == 0) run.freezes = isFrozen(run, bytes32(0)) ? 2 : 1;
        return run.freezes == 2;
    }

    /// @notice Whether a standing is that of an ACTIVE participant.
    function isActive(uint256 standing_) internal pure returns (bool) {
        return standing_ & ~CONSENTED == uint256(ParticipantStatus.ACTIVE) << 1 | 1;
    }

    /// @notice Whether a standing is that of somebody who was ever enrolled.
    function isEnrolled(uint256 standing_) internal pure returns (bool) {
        return standing_ & ~CONSENTED != uint256(ParticipantStatus.UNKNOWN) << 1 | 1;
    }

    function _ask(Run memory run, bytes32 recipient, uint256 place) private view returns (uint256 answer) {
        // run.registry.standing(recipient, run.platform): a transaction may ask a thousand times.
        IParticipantRegistry registry = run.registry;
        bytes32 platform = run.platform;
        bytes4 selector = IParticipantRegistry.standing.selector;
        bool answered;
        assembly ("memory-safe") {
            let m := mload(0x40)
            mstore(m, selector)
            mstore(add(m, 0x04), recipient)
            mstore(add(m, 0x24), platform)
            answered := staticcall(gas(), registry, m, 0x44, 0, 0x40)
            answered := and(answered, eq(returndatasize(), 0x40))
            answer := or(or(shl(1, mload(0)), 1), mul(CONSENTED, mload(0x20)))
        }
        require(answered);
        if (run.platformNumber != 0) Recipients.put(place, recipient, run.platformNumber, answer);
    }

    function _numberOf(Run memory run, bytes32 platform) private pure returns (uint256) {
        uint256 count = run.platformCount;
        for (uint256 i = 0; i < count; ++i) {
            if (run.platforms[i] == platform) return i + 1;
        }
        if (count == MAX_PLATFORMS) return 0;
        run.platforms[count] = platform;
        return run.platformCount = count + 1;
    }

    /// @notice Adds allocations to their recipients' positions.
    /// @param list as Allocations has them.
    function credit(Run memory run, uint256 list) internal {
        run.pending = Recipients.credit(
            run.recipients,
            run.recipientsMask,
            run.pending,
            run.positions,
            Allocations.first(list),
            Allocations.count(list)
        );
    }

    /// @notice Writes positions that have something pending.
    function flush(Run memory run) internal {
        Recipients.flush(run.pending, run.positions);
        run.pending = 0;
    }

    // ---------------------------------------------------------------------- rules

    /// @notice Selects the rule version of a capture. The rule book is asked once per transaction and version.
    function selectRule(Run memory run, Capture calldata c) internal view {
        if (_isOf(run.rule, c)) return;
        for (uint256 i = run.ruleCount; i > 0; --i) {
            run.rule = run.rules[i - 1];
            if (_isOf(run.rule, c)) return;
        }
        run.rule = _load(run, c);
        if (run.ruleCount < MAX_RULES) run.rules[run.ruleCount++] = run.rule;
    }

    /// @notice The rule that the schedule in force selects for a capture.
    function selectedRule(Run memory run, Capture calldata c) internal view returns (bytes32 ruleId) {
        IRuleBook ruleBook = run.ruleBook;
        bytes4 selector = ISchedules.select.selector;
        bool answered;
        assembly ("memory-safe") {
            let m := mload(0x40)
            mstore(m, selector)
            mstore(add(m, 0x04), calldataload(add(c, 0x20)))
            mstore(add(m, 0x24), calldataload(add(c, 0x120)))
            calldatacopy(add(m, 0x44), add(c, 0xa0), 0x40)
            answered := staticcall(gas(), ruleBook, m, 0x84, m, 0x60)
            answered := and(answered, eq(returndatasize(), 0x60))
            ruleId := mload(add(m, 0x40))
        }
        require(answered);
    }

    /// @dev Nothing was loaded while the state is UNKNOWN and the version 0, which no rule book knows either.
    function _isOf(LoadedRule memory rule, Capture calldata c) private pure returns (bool) {
        uint256 differs = uint256(rule.ruleId ^ c.ruleId) | uint256(rule.platform ^ c.platform);
        return differs | rule.version ^ Typed.versionOf(c) == 0;
    }

    function _load(Run memory run, Capture calldata c) private view returns (LoadedRule memory rule) {
        rule.platform = c.platform;
        rule.ruleId = c.ruleId;
        rule.version = c.ruleVersion;
        Leg[] memory legs;
        (rule.state, legs, rule.roles, rule.terms, rule.scheduled) =
            run.ruleBook.load(c.platform, c.ruleId, c.ruleVersion);
        if (rule.state == RuleState.UNKNOWN) return rule;
        run.caps |= rule.terms.maxShareOut;
        uint256 inner = RuleTree.innerLegs(legs);
        uint256[] memory payees = new uint256[](legs.length);
        bytes32[] memory recipients = new bytes32[](legs.length);
        uint256 count;
        uint256 fixedCount;
        for (uint256 i = 0; i < legs.length; ++i) {
            if (inner >> i & 1 == 1) continue;
            uint256 payee;
            if (legs[i].role == bytes32(0)) {
                payee = rule.roles.length + fixedCount;
                recipients[fixedCount++] = legs[i].recipient;
            } else {
                payee = RuleTree.indexOf(rule.roles, rule.roles.length, legs[i].role);
            }
            payees[count++] = payee;
        }
        assembly ("memory-safe") {
            mstore(recipients, fixedCount)
        }
        (rule.legs, rule.given) = Allocator.pack(legs, inner, payees);
        rule.leaves = count;
        rule.recipients = recipients;
    }

    function _cleared(uint256 count) private pure returns (uint256 position) {
        uint256[] memory words = new uint256[](count);
        assembly ("memory-safe") {
            position := add(words, 0x20)
        }
    }

    /// @dev An array of null pointers: its entries are written before they are read, so no default structs are made.
    function _rules() private pure returns (LoadedRule[] memory rules) {
        bytes32[] memory words = new bytes32[](MAX_RULES);
        assembly ("memory-safe") {
            rules := words
        }
    }

    function _nothing() private pure returns (PastRecord[] calldata past) {
        assembly ("memory-safe") {
            past.offset := 0
            past.length := 0
        }
    }
}
