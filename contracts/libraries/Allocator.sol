// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Leg, LegKind} from "../interfaces/IRuleBook.sol";

/// @title The one piece of arithmetic
/// @notice How an amount becomes the amounts of leaves, and how a return is spread over them. All rounding is down;
/// every leftover belongs to the REMAINDER leg of its pool. The readable specification is domain/allocation.py.
library Allocator {
    uint256 internal constant BASIS_POINTS = 10_000;

    /// @notice Why a leg failed: it would take `taken` of a pool in which only `remaining` is left.
    struct Failure {
        bool failed;
        uint256 leg;
        uint256 taken;
        uint256 remaining;
    }

    /// @notice What each leg takes of `amount`, inner legs included, in leg order.
    /// @param legs a tree as RuleTree.validateTree accepts it.
    /// @dev With `amount` and leg values below 2^96 no product reaches 2^256.
    function allocate(Leg[] memory legs, uint256 amount)
        internal
        pure
        returns (uint256[] memory taken, Failure memory failure)
    {
        unchecked {
            uint256 count = legs.length;
            taken = new uint256[](count);
            // remaining[0] is the root pool, remaining[i + 1] the pool of leg i.
            uint256[] memory remaining = new uint256[](count + 1);
            remaining[0] = amount;
            for (uint256 i = 0; i < count; ++i) {
                Leg memory leg = legs[i];
                uint256 pool = uint256(int256(leg.parent) + 1);
                uint256 left = remaining[pool];
                uint256 take;
                if (leg.kind == LegKind.SHARE) {
                    take = shareDown(leg, pool == 0 ? amount : taken[pool - 1]);
                } else {
                    take = leg.kind == LegKind.FIXED ? leg.value : left;
                }
                if (take > left) {
                    return (taken, Failure({failed: true, leg: i, taken: take, remaining: left}));
                }
                remaining[pool] = left - take;
                remaining[i + 1] = take;
                taken[i] = take;
            }
        }
    }

    /// @notice floor(pool * value / 10_000), raised to `min`, then cut to `max` if there is one.
    function shareDown(Leg memory leg, uint256 pool) internal pure returns (uint256 share) {
        unchecked {
            share = pool * leg.value / BASIS_POINTS;
            if (share < leg.min) share = leg.min;
            if (leg.max != 0 && share > leg.max) share = leg.max;
        }
    }

    /// @notice Spreads `amount` over leaves in proportion to `returnable`, by cumulative floor.
    /// @dev Requires amount <= sum of `returnable`, each below 2^96 and at most 20 of them, so products stay below 2^256.
    function takeBackDown(uint256[] memory returnable, uint256 total, uint256 amount)
        internal
        pure
        returns (uint256[] memory takes)
    {
        takes = new uint256[](returnable.length);
        uint256 weights;
        uint256 given;
        for (uint256 k = 0; k < returnable.length; ++k) {
            weights += returnable[k];
            uint256 upToHere = weights * amount / total;
            takes[k] = upToHere - given;
            given = upToHere;
        }
    }
}
