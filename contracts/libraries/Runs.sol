// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IParticipantRegistry, ParticipantStatus} from "../interfaces/IParticipantRegistry.sol";
import {IRuleBook, Leg, RuleState} from "../interfaces/IRuleBook.sol";
import {Attestation, Authorization, Capture, PastRecord} from "../interfaces/ISplitLedger.sol";
import {RuleTree} from "./RuleTree.sol";
import {StandingCache} from "./StandingCache.sol";

/// @notice What this transaction knows of one order. Not `known`: no valid witness was given and none made here.
/// `capture` and `past` are calldata positions, so that nothing is copied.
struct Cursor {
    bytes32 orderId;
    bool known;
    uint256 slot;
    bytes32 captureHash;
    bytes32 head;
    uint256 capture;
    uint256 past;
    uint256 pastLength;
}

/// @notice A rule version, loaded once a transaction. `leafLegs[k]` is the leg of leaf k, `leafRoles[k]` the index of its
/// role, or FIXED_RECIPIENT.
struct LoadedRule {
    bytes32 platform;
    bytes32 ruleId;
    uint32 version;
    RuleState state;
    Leg[] legs;
    bytes32[] roles;
    uint256[] leafLegs;
    uint256[] leafRoles;
}

/// @notice Working memory of one `settle` transaction.
struct Run {
    IParticipantRegistry registry;
    IRuleBook ruleBook;
    uint256 instructions;
    Cursor[] cursors;
    uint256 cursorCount;
    bytes32[] leaves;
    uint256 leafCount;
    LoadedRule[] rules;
    uint256 ruleCount;
    uint256[] standings;
}

/// @title Working memory of a transaction: orders by index, leaves, and what registry and rule book said
library Runs {
    uint256 internal constant FIXED_RECIPIENT = type(uint256).max;
    /// @notice Index of an order that the chain does not know.
    uint256 internal constant UNKNOWN = 0xffff;
    uint256 private constant MAX_RULES = 64;

    function open(
        Attestation[] calldata attestations,
        Authorization[] calldata authorizations,
        uint256 witnesses,
        IParticipantRegistry registry,
        IRuleBook ruleBook
    ) internal pure returns (Run memory run) {
        uint256 captures;
        for (uint256 i = 0; i < attestations.length; ++i) {
            captures += attestations[i].captures.length;
        }
        for (uint256 i = 0; i < authorizations.length; ++i) {
            run.instructions += authorizations[i].instructions.length;
        }
        run.registry = registry;
        run.ruleBook = ruleBook;
        run.cursors = _cursors(captures + witnesses);
        run.leaves = new bytes32[](captures + run.instructions);
        run.rules = _rules();
        run.standings = StandingCache.create(captures + run.instructions);
    }

    /// @notice Appends the place of the order of `capture`, not known yet.
    function addCursor(Run memory run, Capture calldata capture) internal pure returns (Cursor memory cursor) {
        cursor.orderId = capture.orderId;
        uint256 position;
        assembly {
            position := capture
        }
        cursor.capture = position;
        run.cursors[run.cursorCount++] = cursor;
    }

    function captureOf(Cursor memory cursor) internal pure returns (Capture calldata capture) {
        uint256 position = cursor.capture;
        assembly {
            capture := position
        }
    }

    function pastOf(Cursor memory cursor) internal pure returns (PastRecord[] calldata past) {
        uint256 position = cursor.past;
        uint256 length = cursor.pastLength;
        assembly {
            past.offset := position
            past.length := length
        }
    }

    function setPast(Cursor memory cursor, PastRecord[] calldata past) internal pure {
        uint256 position;
        assembly {
            position := past.offset
        }
        cursor.past = position;
        cursor.pastLength = past.length;
    }

    function addLeaf(Run memory run, bytes32 leaf) internal pure {
        unchecked {
            run.leaves[run.leafCount++] = leaf;
        }
    }

    /// @notice The i-th two-byte entry of `orderIndex`.
    function indexAt(bytes calldata orderIndex, uint256 i) internal pure returns (uint256) {
        return uint16(bytes2(orderIndex[2 * i:2 * i + 2]));
    }

    /// @notice Status and consent of a recipient. The registry is asked once per transaction and pair.
    function standing(Run memory run, bytes32 recipient, bytes32 platform)
        internal
        view
        returns (ParticipantStatus status, bool consented)
    {
        (uint256 place, uint256 known) = StandingCache.find(run.standings, recipient, platform);
        if (known != 0) return (ParticipantStatus(known >> 1 & 7), known & 16 != 0);
        (status, consented) = run.registry.standing(recipient, platform);
        StandingCache.put(run.standings, place, recipient, platform, 1 | uint256(status) << 1 | (consented ? 16 : 0));
    }

    /// @notice A rule version. The rule book is asked once per transaction and version.
    function ruleOf(Run memory run, bytes32 platform, bytes32 ruleId, uint32 version)
        internal
        view
        returns (LoadedRule memory rule)
    {
        for (uint256 i = run.ruleCount; i > 0; --i) {
            rule = run.rules[i - 1];
            if (rule.ruleId == ruleId && rule.version == version && rule.platform == platform) return rule;
        }
        rule = _load(run, platform, ruleId, version);
        if (run.ruleCount < MAX_RULES) run.rules[run.ruleCount++] = rule;
    }

    function _load(Run memory run, bytes32 platform, bytes32 ruleId, uint32 version)
        private
        view
        returns (LoadedRule memory rule)
    {
        rule.platform = platform;
        rule.ruleId = ruleId;
        rule.version = version;
        (rule.state, rule.legs, rule.roles) = run.ruleBook.load(platform, ruleId, version);
        if (rule.state == RuleState.UNKNOWN) return rule;
        uint256 inner = RuleTree.innerLegs(rule.legs);
        rule.leafLegs = new uint256[](rule.legs.length);
        rule.leafRoles = new uint256[](rule.legs.length);
        uint256 count;
        for (uint256 i = 0; i < rule.legs.length; ++i) {
            if (inner >> i & 1 == 1) continue;
            bytes32 role = rule.legs[i].role;
            rule.leafLegs[count] = i;
            rule.leafRoles[count] =
                role == bytes32(0) ? FIXED_RECIPIENT : RuleTree.indexOf(rule.roles, rule.roles.length, role);
            ++count;
        }
        uint256[] memory leafLegs = rule.leafLegs;
        assembly ("memory-safe") {
            mstore(leafLegs, count)
        }
    }

    /// @dev Arrays of null pointers: their entries are written before they are read, so no default structs are made.
    function _cursors(uint256 length) private pure returns (Cursor[] memory cursors) {
        bytes32[] memory words = new bytes32[](length);
        assembly ("memory-safe") {
            cursors := words
        }
    }

    function _rules() private pure returns (LoadedRule[] memory rules) {
        bytes32[] memory words = new bytes32[](MAX_RULES);
        assembly ("memory-safe") {
            rules := words
        }
    }
}
