// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title What the registry said in this transaction, in memory
/// @notice A hash table with a few probes. It forgets rather than grows: a pair that finds no place is asked for again.
library StandingCache {
    uint256 private constant PROBES = 8;
    uint256 private constant MAX_ENTRIES = 2048;
    /// @dev The low bits of an entry hold the answer (never zero), the rest the key.
    uint256 private constant ANSWER = 0x1f;
    uint256 private constant NO_PLACE = type(uint256).max;

    /// @param instructions how many captures and instructions the transaction has.
    function create(uint256 instructions) internal pure returns (uint256[] memory entries) {
        uint256 size = 16;
        while (size < 4 * instructions && size < MAX_ENTRIES) size <<= 1;
        entries = new uint256[](size);
    }

    /// @return place where `put` may store the answer if there is none.
    /// @return answer the known answer, or 0.
    function find(uint256[] memory entries, bytes32 recipient, bytes32 platform)
        internal
        pure
        returns (uint256 place, uint256 answer)
    {
        unchecked {
            uint256 key = _key(recipient, platform);
            uint256 mask = entries.length - 1;
            for (uint256 probe = 0; probe < PROBES; ++probe) {
                place = (key >> 8) + probe & mask;
                uint256 entry = entries[place];
                if (entry == 0) return (place, 0);
                if (entry & ~ANSWER == key) return (place, entry & ANSWER);
            }
            return (NO_PLACE, 0);
        }
    }

    function put(uint256[] memory entries, uint256 place, bytes32 recipient, bytes32 platform, uint256 answer)
        internal
        pure
    {
        if (place != NO_PLACE) entries[place] = _key(recipient, platform) | answer;
    }

    function _key(bytes32 recipient, bytes32 platform) private pure returns (uint256 key) {
        assembly ("memory-safe") {
            mstore(0, recipient)
            mstore(0x20, platform)
            key := and(keccak256(0, 0x40), not(0x1f))
        }
    }
}
