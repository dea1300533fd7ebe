// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Leg, LegKind} from "../interfaces/IRuleBook.sol";
import {ISplitLedger} from "../interfaces/ISplitLedger.sol";
import {Words} from "./Words.sol";

/// @title The one piece of arithmetic
/// @notice How an amount becomes the amounts of leaves, and how a return is spread over them. All rounding is down;
/// every leftover belongs to the REMAINDER leg of its pool. The readable specification is domain/allocation.py.
library Allocator {
    uint256 internal constant BASIS_POINTS = 10_000;
    /// @notice No leg failed.
    uint256 internal constant NONE = type(uint256).max;
    /// @dev What a leg takes that is given too much or too little: more than any pool has.
    uint256 private constant OUT_OF_BOUNDS = type(uint256).max;

    /// @dev A packed leg is two words. The first holds, from the lowest bit, the place of its pool, that of the pool it
    /// becomes itself (an inner leg), that of its payee (a leaf), what it is, its value, and what a GIVEN leg is given; the
    /// second its bounds, max << 128 | min, and for a GIVEN leg the bit that says so. Places are distances in bytes: of a pool behind the last allocation, of a payee behind the first one.
    uint256 private constant LEG = 64;
    uint256 private constant PLACE = 0xffff;
    uint256 private constant BECOMES = 16;
    uint256 private constant PAYEE = 32;
    uint256 private constant FIXED = 1 << 48;
    uint256 private constant SHARE = 1 << 49;
    uint256 private constant INNER = 1 << 50;
    /// @dev Anything but a leaf that takes a share without bounds of the same pool as the leg before.
    uint256 private constant UNUSUAL = 1 << 51;
    uint256 private constant VALUE = 64;
    uint256 private constant AMOUNT = 160;
    uint256 private constant MAX = 128;
    /// @dev In the second word. In the first a GIVEN leg is a SHARE: both follow from the pool.
    uint256 private constant GIVEN = 1 << 255;
    /// @dev An allocation, recipient and amount, takes two words; and so does a pool: what remains of it, and the whole.
    uint256 private constant PAIR = 64;

    /// @notice Legs in the form that `allocate` reads.
    /// @param legs a tree as RuleTree.validateTree accepts it.
    /// @param inner bit i is set if leg i has children.
    /// @param payees of each leaf, by its index among those that `allocate` is given.
    /// @return packed two words per leg.
    /// @return given how many legs are GIVEN.
    function pack(Leg[] memory legs, uint256 inner, uint256[] memory payees)
        internal
        pure
        returns (uint256[] memory packed, uint256 given)
    {
        packed = new uint256[](2 * legs.length);
        uint256[] memory pools = new uint256[](legs.length + 1);
        uint256 leaves;
        uint256 pool;
        for (uint256 i = 0; i < legs.length; ++i) {
            Leg memory leg = legs[i];
            uint256 word = uint256(leg.value) << VALUE | pools[uint256(int256(leg.parent) + 1)];
            if (leg.kind == LegKind.FIXED) word |= FIXED;
            if (leg.kind == LegKind.SHARE) word |= SHARE;
            bool samePool = leg.parent == (i == 0 ? int8(-1) : legs[i - 1].parent);
            bool plainShare = leg.kind == LegKind.SHARE && leg.min == 0 && leg.max == 0;
            if (!samePool || !plainShare || inner >> i & 1 == 1) word |= UNUSUAL;
            if (inner >> i & 1 == 1) {
                pool += PAIR;
                pools[i + 1] = pool;
                word |= INNER | pool << BECOMES;
            } else {
                word |= payees[leaves++] * 32 << PAYEE;
            }
            uint256 bounds = uint256(leg.max) << MAX | leg.min;
            if (leg.kind == LegKind.GIVEN) {
                word |= SHARE;
                bounds |= GIVEN;
                ++given;
            }
            packed[2 * i] = word;
            packed[2 * i + 1] = bounds;
        }
    }

    /// @notice Tells the GIVEN legs, in their order, what they take. Every split of a rule that has some does so anew.
    /// @param amounts as many as there are GIVEN legs.
    function give(uint256[] memory packed, uint96[] calldata amounts) internal pure {
        unchecked {
            uint256 leg = _first(packed);
            for (uint256 k = 0; k < amounts.length; leg += LEG) {
                if (Words.ofMemory(leg + 32) & GIVEN == 0) continue;
                Words.put(leg, uint160(Words.ofMemory(leg)) | uint256(amounts[k++]) << AMOUNT);
            }
        }
    }

    /// @notice Words that `allocate` writes for packed legs: a pair for each, and one for the root.
    /// @param length of the packed legs.
    function words(uint256 length) internal pure returns (uint256) {
        unchecked {
            return length + PAIR / 32;
        }
    }

    /// @notice Shares `amount` among the leaves.
    /// @param leaves how many there are.
    /// @param payees position of the recipients to choose from.
    /// @param list position for the allocations, one behind the other.
    /// @return failed the first leg that cannot take what it would, or NONE. `refusal` says why.
    /// @return take what the failed leg would take.
    /// @return remaining what remains of its pool; the whole pool of a leg that is given an amount out of its bounds.
    /// @dev With `amount` and leg values below 2^96 no product reaches 2^256. Every place is one that `pack` made.
    /// The pool at hand is `pool`, `remaining` of `whole`; in memory it stands only when another one's turn comes.
    function allocate(uint256[] memory packed, uint256 amount, uint256 leaves, uint256 payees, uint256 list)
        internal
        pure
        returns (uint256 failed, uint256 take, uint256 remaining)
    {
        unchecked {
            uint256 pools = list + leaves * PAIR;
            uint256 pool;
            uint256 whole = amount;
            remaining = amount;
            uint256 leg = _first(packed);
            for (uint256 end = leg + packed.length * 32; leg != end; leg += LEG) {
                uint256 word = Words.ofMemory(leg);
                if (word & UNUSUAL == 0) {
                    take = whole * (word >> VALUE) / BASIS_POINTS;
                } else {
                    if (word & PLACE != pool) {
                        _put(pools + pool, remaining, whole);
                        pool = word & PLACE;
                        remaining = Words.ofMemory(pools + pool);
                        whole = Words.ofMemory(pools + pool + 32);
                    }
                    if (word & SHARE != 0) take = shareDown(whole, word >> VALUE, Words.ofMemory(leg + 32));
                    else take = word & FIXED != 0 ? word >> VALUE : remaining;
                    if (word & INNER != 0) {
                        if (take <= remaining) {
                            remaining -= take;
                            _put(pools + (word >> BECOMES & PLACE), take, take);
                            continue;
                        }
                    }
                }
                if (take > remaining) {
                    return ((leg - _first(packed)) / LEG, take, take == OUT_OF_BOUNDS ? whole : remaining);
                }
                remaining -= take;
                Words.put(list, Words.ofMemory(payees + (word >> PAYEE & PLACE)));
                Words.put(list + 32, take);
                list += PAIR;
            }
            return (NONE, 0, 0);
        }
    }

    /// @notice Why a split is rejected of which a leg failed, from what `allocate` returned.
    function refusal(uint256[] memory packed, uint256 failed, uint256 take, uint256 remaining)
        internal
        pure
        returns (bytes memory)
    {
        if (take != OUT_OF_BOUNDS) {
            return abi.encodeWithSelector(ISplitLedger.SplitLedger_LegExceedsRemaining.selector, failed, take, remaining);
        }
        uint256 word = packed[2 * failed];
        (uint256 least, uint256 most) = _givenBounds(remaining, word >> VALUE, packed[2 * failed + 1]);
        return abi.encodeWithSelector(
            ISplitLedger.SplitLedger_GivenOutOfBounds.selector, failed, word >> AMOUNT, least, most
        );
    }

    /// @notice Amount of allocation k.
    function amountAt(uint256 list, uint256 k) internal pure returns (uint256) {
        return Words.ofMemory(list + k * PAIR + 32);
    }

    /// @notice floor(pool * value / 10_000), raised to `min`, then cut to `max` if there is one; or what a GIVEN leg is given,
    /// if it is within its bounds, else OUT_OF_BOUNDS.
    /// @param value of a GIVEN leg, together with what it is given.
    function shareDown(uint256 pool, uint256 value, uint256 bounds) internal pure returns (uint256 share) {
        unchecked {
            share = pool * value / BASIS_POINTS;
            if (bounds != 0) {
                if (bounds & GIVEN != 0) return _given(pool, value, bounds);
                uint256 min = uint128(bounds);
                uint256 max = bounds >> MAX;
                if (share < min) share = min;
                if (max != 0 && share > max) share = max;
            }
        }
    }

    /// @notice Spreads `amount` over leaves in proportion to what they have, by cumulative floor.
    /// @param leaf position of the first, recipient and what it has; that is replaced by what it gives.
    /// @param total what they have together, at least `amount` and below 2^96, so that products stay below 2^256.
    function takeBackDown(uint256 leaf, uint256 count, uint256 total, uint256 amount) internal pure {
        unchecked {
            if (amount == 0) total = 1; // nothing is taken, also from leaves that have nothing
            uint256 weights;
            uint256 given;
            for (uint256 end = leaf + count * PAIR; leaf != end; leaf += PAIR) {
                weights += Words.ofMemory(leaf + 32);
                uint256 upToHere = weights * amount / total;
                Words.put(leaf + 32, upToHere - given);
                given = upToHere;
            }
        }
    }

    function _given(uint256 pool, uint256 value, uint256 bounds) private pure returns (uint256 amount) {
        amount = value >> (AMOUNT - VALUE);
        (uint256 least, uint256 most) = _givenBounds(pool, value, bounds);
        if (amount < least || amount > most) return OUT_OF_BOUNDS;
    }

    /// @dev From `min` to floor(pool * value / 10_000), or to `max` if there is one and it is less.
    function _givenBounds(uint256 pool, uint256 value, uint256 bounds)
        private
        pure
        returns (uint256 least, uint256 most)
    {
        unchecked {
            least = uint128(bounds);
            most = pool * uint96(value) / BASIS_POINTS;
            uint256 max = uint96(bounds >> MAX);
            if (max != 0 && max < most) most = max;
        }
    }

    function _put(uint256 position, uint256 first, uint256 second) private pure {
        Words.put(position, first);
        Words.put(position + 32, second);
    }

    function _first(uint256[] memory packed) private pure returns (uint256 position) {
        assembly ("memory-safe") {
            position := add(packed, 0x20)
        }
    }
}
