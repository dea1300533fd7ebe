// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IRuleBook, Leg, LegKind} from "../interfaces/IRuleBook.sol";
import {Allocator} from "./Allocator.sol";

/// @title What makes a list of legs a rule
/// @notice A tree of 1 to 32 legs, 1 to 20 leaves, at most 4 deep, in which every pool ends with its one REMAINDER,
/// and exactly the leaves name who receives.
library RuleTree {
    uint256 internal constant MAX_LEGS = 32;
    uint256 internal constant MAX_LEAVES = 20;
    uint256 internal constant MAX_DEPTH = 4;

    /// @notice Reverts with the first offending leg unless `legs` is a rule.
    function validate(Leg[] memory legs) internal pure {
        uint256 inner = validateTree(legs);
        for (uint256 i = 0; i < legs.length; ++i) {
            Leg memory leg = legs[i];
            _validateValues(leg, i);
            bool isInner = inner >> i & 1 == 1;
            bool hasRecipient = leg.recipient != bytes32(0);
            bool hasRole = leg.role != bytes32(0);
            if (isInner ? hasRecipient || hasRole : hasRecipient == hasRole) {
                revert IRuleBook.RuleTree_RecipientOrRole(i);
            }
        }
    }

    /// @notice Reverts unless `legs` has the shape that Allocator relies on.
    /// @return inner bit i is set if leg i has children.
    function validateTree(Leg[] memory legs) internal pure returns (uint256 inner) {
        uint256 count = legs.length;
        if (count == 0 || count > MAX_LEGS) revert IRuleBook.RuleTree_LegCount(count);
        uint256[] memory depth = new uint256[](count);
        // Bit 0 is the root pool, bit i + 1 the pool of leg i: set once its REMAINDER was seen.
        uint256 closed;
        for (uint256 i = 0; i < count; ++i) {
            int256 parent = legs[i].parent;
            if (parent < -1 || parent >= int256(i)) revert IRuleBook.RuleTree_Parent(i, parent);
            uint256 pool = uint256(parent + 1);
            depth[i] = pool == 0 ? 1 : depth[pool - 1] + 1;
            if (depth[i] > MAX_DEPTH) revert IRuleBook.RuleTree_Depth(i, depth[i]);
            if (closed >> pool & 1 == 1) revert IRuleBook.RuleTree_RemainderNotLast(i);
            if (legs[i].kind == LegKind.REMAINDER) closed |= 1 << pool;
            if (pool != 0) inner |= 1 << (pool - 1);
        }
        if (closed & 1 == 0) revert IRuleBook.RuleTree_NoRemainder(-1);
        uint256 leaves;
        for (uint256 i = 0; i < count; ++i) {
            if (inner >> i & 1 == 0) ++leaves;
            else if (closed >> (i + 1) & 1 == 0) revert IRuleBook.RuleTree_NoRemainder(int256(i));
        }
        if (leaves > MAX_LEAVES) revert IRuleBook.RuleTree_LeafCount(leaves);
    }

    /// @notice Bit i is set if leg i of a validated tree has children.
    function innerLegs(Leg[] memory legs) internal pure returns (uint256 inner) {
        for (uint256 i = 0; i < legs.length; ++i) {
            int256 parent = legs[i].parent;
            if (parent >= 0) inner |= 1 << uint256(parent);
        }
    }

    /// @notice How many legs of a validated tree have no children.
    function leafCount(Leg[] memory legs) internal pure returns (uint256 count) {
        uint256 inner = innerLegs(legs);
        for (uint256 i = 0; i < legs.length; ++i) {
            if (inner >> i & 1 == 0) ++count;
        }
    }

    /// @notice Distinct role names in order of first use.
    function rolesOf(Leg[] memory legs) internal pure returns (bytes32[] memory roles) {
        roles = new bytes32[](legs.length);
        uint256 count;
        for (uint256 i = 0; i < legs.length; ++i) {
            bytes32 role = legs[i].role;
            if (role == bytes32(0) || indexOf(roles, count, role) < count) continue;
            roles[count++] = role;
        }
        assembly ("memory-safe") {
            mstore(roles, count)
        }
    }

    /// @notice Index of `role` among the first `count` entries, or `count`.
    function indexOf(bytes32[] memory roles, uint256 count, bytes32 role) internal pure returns (uint256 index) {
        while (index < count && roles[index] != role) ++index;
    }

    function _validateValues(Leg memory leg, uint256 i) private pure {
        bool isGiven = leg.kind == LegKind.GIVEN;
        bool isBounded = isGiven || leg.kind == LegKind.SHARE;
        if (
            (isBounded && leg.value > Allocator.BASIS_POINTS) || (isGiven && leg.value == 0)
                || (leg.kind == LegKind.REMAINDER && leg.value != 0)
        ) {
            revert IRuleBook.RuleTree_Value(i, leg.value);
        }
        if (isBounded ? leg.max != 0 && leg.min > leg.max : leg.min != 0 || leg.max != 0) {
            revert IRuleBook.RuleTree_Bounds(i, leg.min, leg.max);
        }
    }
}
