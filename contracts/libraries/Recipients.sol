// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Words} from "./Words.sol";

/// @title Recipients in memory: what the registry said of them in this transaction, and what their positions shall get
/// @notice A hash table with a few probes. It forgets rather than grows: a pair that finds no place is asked for again.
/// An entry is four words: the id; platform << 8 | answer, where `platform` is a number that the transaction gave it and
/// `answer` is never 0; the amount to be added to the position; and the next entry with such an amount.
/// Ids are drawn at random, so their first bits serve as their hash. Whoever chooses them otherwise makes his own
/// transactions slower and no answer wrong, because ids are compared in full.
library Recipients {
    uint256 private constant MAX_ENTRIES = 256;
    uint256 private constant ENTRY = 128;
    /// @dev Of 16 entries.
    uint256 private constant PROBED = 2048;
    uint256 private constant ANSWER = 0x20;
    uint256 private constant PENDING = 0x40;
    uint256 private constant NEXT = 0x60;
    uint256 private constant NO_PLACE = 0;

    /// @param instructions how many captures and instructions the transaction has.
    /// @return entries position of the table.
    /// @return mask of the places in it.
    function create(uint256 instructions) internal pure returns (uint256 entries, uint256 mask) {
        uint256 size = 16;
        while (size < 2 * instructions && size < MAX_ENTRIES) size <<= 1;
        uint256[] memory cleared = new uint256[](size * ENTRY / 32);
        assembly ("memory-safe") {
            entries := add(cleared, 0x20)
        }
        mask = (size - 1) * ENTRY;
    }

    /// @notice How many of the leading ids of a list are known to have this answer.
    /// @param known platform << 8 | answer.
    function countKnown(uint256 entries, uint256 mask, uint256 known, bytes32[] calldata ids)
        internal
        pure
        returns (uint256 count)
    {
        if (ids.length == 0) return 0; // not to be inlined, see credit
        assembly ("memory-safe") {
            let at := ids.offset
            for { let end := add(at, shl(5, ids.length)) } lt(at, end) { at := add(at, 0x20) } {
                let id := calldataload(at)
                let entry := add(entries, and(shr(224, id), mask))
                // No function, as in `credit`: its call would order the stack for every id, also for those at their place.
                if or(xor(mload(entry), id), xor(mload(add(entry, ANSWER)), known)) {
                    for { let probe := ENTRY } lt(probe, PROBED) { probe := add(probe, ENTRY) } {
                        entry := add(entries, and(add(shr(224, id), probe), mask))
                        if or(eq(mload(entry), id), iszero(mload(entry))) { break }
                    }
                    if or(xor(mload(entry), id), xor(mload(add(entry, ANSWER)), known)) { break }
                }
            }
            count := shr(5, sub(at, ids.offset))
        }
    }

    /// @return place where `put` may store the answer if there is none.
    /// @return answer the known answer, or 0.
    function find(uint256 entries, uint256 mask, bytes32 recipient, uint256 platform)
        internal
        pure
        returns (uint256 place, uint256 answer)
    {
        unchecked {
            for (uint256 probe = 0; probe < PROBED; probe += ENTRY) {
                place = entries + ((uint256(recipient) >> 224) + probe & mask);
                uint256 known = Words.ofMemory(place + ANSWER);
                if (known == 0) return (place, 0);
                if (known >> 8 == platform && Words.ofMemory(place) == uint256(recipient)) {
                    return (place, known & 0xff);
                }
            }
            return (NO_PLACE, 0);
        }
    }

    function put(uint256 place, bytes32 recipient, uint256 platform, uint256 answer) internal pure {
        if (place == NO_PLACE) return;
        Words.put(place, uint256(recipient));
        Words.put(place + ANSWER, platform << 8 | answer);
    }

    /// @notice Adds allocations to their recipients' positions: to what is pending for each of them, in memory. One that
    /// has no place there gets its amount in storage at once.
    /// @param pending the first entry with something pending, or 0.
    /// @param positions slot of the mapping from participant to position.
    /// @param list position of pairs of recipient and amount. An amount of 0 touches nobody.
    /// @return the first entry with something pending from now on.
    /// @dev Positions are signed: an addition pays a debt first. They stay far below 2^128 on both sides, for what is taken
    /// back was given before, and all that was given is part of what was captured. The early return
    /// keeps the optimizer from inlining the loop into a function with too many variables for the stack.
    function credit(uint256 entries, uint256 mask, uint256 pending, uint256 positions, uint256 list, uint256 count)
        internal
        returns (uint256)
    {
        if (count == 0) return pending;
        assembly ("memory-safe") {
            for { let end := add(list, shl(6, count)) } lt(list, end) { list := add(list, 0x40) } {
                let id := mload(list)
                let entry := add(entries, and(shr(224, id), mask))
                let before := mload(add(entry, PENDING))
                if or(xor(mload(entry), id), iszero(before)) {
                    let amount := mload(add(list, 0x20))
                    if iszero(amount) { continue }
                    if xor(mload(entry), id) {
                        entry := displaced(entries, mask, id)
                        if iszero(entry) {
                            mstore(0, id)
                            mstore(0x20, positions)
                            let slot := keccak256(0, 0x40)
                            sstore(slot, add(sload(slot), amount))
                            continue
                        }
                        before := mload(add(entry, PENDING))
                    }
                    if iszero(before) {
                        mstore(add(entry, NEXT), pending)
                        pending := entry
                    }
                }
                mstore(add(entry, PENDING), add(before, mload(add(list, 0x20))))
            }

            /// Entry of an id that is not at its first place, or 0.
            function displaced(table, places, wanted) -> found {
                for { let probe := ENTRY } lt(probe, PROBED) { probe := add(probe, ENTRY) } {
                    found := add(table, and(add(shr(224, wanted), probe), places))
                    if eq(mload(found), wanted) { leave }
                    if iszero(mload(found)) { break }
                }
                found := 0
            }
        }
        return pending;
    }

    /// @notice Writes what is pending.
    function flush(uint256 pending, uint256 positions) internal {
        assembly ("memory-safe") {
            mstore(0x20, positions)
            for {} pending { pending := mload(add(pending, NEXT)) } {
                mstore(0, mload(pending))
                let slot := keccak256(0, 0x40)
                sstore(slot, add(sload(slot), mload(add(pending, PENDING))))
                mstore(add(pending, PENDING), 0)
            }
        }
    }
}
