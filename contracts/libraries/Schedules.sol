// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {ISchedules, ScheduleEntry, ScheduleProposal} from "../interfaces/ISchedules.sol";
import {Words} from "./Words.sol";

/// @title What makes a list of entries a schedule, and which entry is an order's
/// @notice domain/schedules.py is the readable twin.
/// @dev An entry is packed into four words: facts; currency, amountFrom, amountBelow; validFrom, validUntil; ruleId.
library Schedules {
    /// @notice The `ruleId` under which versions of schedules stand. No rule has it.
    bytes32 internal constant SCHEDULE = "schedule";
    uint256 internal constant MAX_ENTRIES = 64;

    bytes32 private constant ENTRY_TYPEHASH = keccak256(
        "ScheduleEntry(bytes32 facts,bytes3 currency,uint96 amountFrom,uint96 amountBelow,uint64 validFrom,uint64 validUntil,bytes32 ruleId)"
    );
    bytes32 private constant PROPOSAL_TYPEHASH = keccak256(
        "ScheduleProposal(bytes32 platform,uint32 version,uint64 effectiveFrom,ScheduleEntry[] entries)"
        "ScheduleEntry(bytes32 facts,bytes3 currency,uint96 amountFrom,uint96 amountBelow,uint64 validFrom,uint64 validUntil,bytes32 ruleId)"
    );
    uint256 private constant ENTRY_SIZE = 0x80;
    /// @dev Of each of the four codes: the low seven bits of its first byte, and all of it.
    uint256 private constant FIRST_BYTES = 0x7f000000000000007f000000000000007f000000000000007f00000000000000;
    uint256 private constant CODE = type(uint64).max;
    /// @dev Below the bits for currency, amount and time.
    uint256 private constant CODE_CRITERIA = 3;
    uint256 private constant CRITERIA = 7;

    /// @notice EIP-712 struct hash of a proposal.
    function hash(ScheduleProposal calldata proposal) internal pure returns (bytes32) {
        bytes32[] memory entries = new bytes32[](proposal.entries.length);
        for (uint256 i = 0; i < entries.length; ++i) {
            entries[i] = keccak256(abi.encode(ENTRY_TYPEHASH, proposal.entries[i]));
        }
        return keccak256(
            abi.encode(
                PROPOSAL_TYPEHASH,
                proposal.platform,
                proposal.version,
                proposal.effectiveFrom,
                keccak256(abi.encodePacked(entries))
            )
        );
    }

    /// @notice Reverts with the first offending entry unless `entries` is a schedule.
    function validate(ScheduleEntry[] memory entries) internal pure {
        uint256 count = entries.length;
        if (count == 0 || count > MAX_ENTRIES) revert ISchedules.Schedule_EntryCount(count);
        uint256[] memory ranks = new uint256[](count);
        for (uint256 i = 0; i < count; ++i) {
            ScheduleEntry memory entry = entries[i];
            _validateValues(entry, i);
            ranks[i] = _rank(entry);
            if (i != 0 && ranks[i] > ranks[i - 1]) revert ISchedules.Schedule_Precedence(i);
            for (uint256 k = i; k > 0 && ranks[k - 1] == ranks[i]; --k) {
                if (_overlap(entries[k - 1], entry)) revert ISchedules.Schedule_Overlap(i, k - 1);
            }
        }
        if (ranks[count - 1] != 0) revert ISchedules.Schedule_LastStatesSomething(count - 1);
    }

    function pack(ScheduleEntry[] memory entries) internal pure returns (bytes memory packed) {
        packed = new bytes(entries.length * ENTRY_SIZE);
        uint256 place = _first(packed);
        for (uint256 i = 0; i < entries.length; ++i) {
            ScheduleEntry memory entry = entries[i];
            uint256 amounts = uint256(entry.amountFrom) << 136 | uint256(entry.amountBelow) << 40;
            Words.put(place, uint256(entry.facts));
            Words.put(place + 0x20, uint256(bytes32(entry.currency)) | amounts);
            Words.put(place + 0x40, uint256(entry.validFrom) << 64 | entry.validUntil);
            Words.put(place + 0x60, uint256(entry.ruleId));
            place += ENTRY_SIZE;
        }
    }

    function unpack(bytes memory packed) internal pure returns (ScheduleEntry[] memory entries) {
        entries = new ScheduleEntry[](packed.length / ENTRY_SIZE);
        uint256 place = _first(packed);
        for (uint256 i = 0; i < entries.length; ++i) {
            ScheduleEntry memory entry = entries[i];
            uint256 money = Words.ofMemory(place + 0x20);
            uint256 times = Words.ofMemory(place + 0x40);
            entry.facts = bytes32(Words.ofMemory(place));
            entry.currency = bytes3(bytes32(money));
            entry.amountFrom = uint96(money >> 136);
            entry.amountBelow = uint96(money >> 40);
            entry.validFrom = uint64(times >> 64);
            entry.validUntil = uint64(times);
            entry.ruleId = bytes32(Words.ofMemory(place + 0x60));
            place += ENTRY_SIZE;
        }
    }

    /// @notice The first entry that matches, and its rule. The last one always does.
    function find(bytes memory packed, bytes32 facts, bytes3 currency, uint96 amount)
        internal
        view
        returns (uint256 entry, bytes32 ruleId)
    {
        uint256 place = _first(packed);
        unchecked {
            while (!_matches(place, uint256(facts), currency, amount)) {
                place += ENTRY_SIZE;
                ++entry;
            }
        }
        ruleId = bytes32(Words.ofMemory(place + 0x60));
    }

    function _matches(uint256 place, uint256 facts, bytes3 currency, uint96 amount) private view returns (bool) {
        unchecked {
            uint256 pattern = Words.ofMemory(place);
            if ((pattern ^ facts) & _statedCodes(pattern) * CODE != 0) return false;
            uint256 money = Words.ofMemory(place + 0x20);
            bytes3 stated = bytes3(bytes32(money));
            if (stated != 0 && stated != currency) return false;
            uint256 times = Words.ofMemory(place + 0x40);
            return _within(uint96(money >> 136), uint96(money >> 40), amount)
                && _within(times >> 64, uint64(times), block.timestamp);
        }
    }

    /// @dev 1 at the lowest bit of each code that is not zero. Codes are ASCII and left aligned, so the first byte tells.
    function _statedCodes(uint256 facts) private pure returns (uint256) {
        unchecked {
            return ((facts & FIRST_BYTES) + FIRST_BYTES) >> 63 & 0x0000000000000001000000000000000100000000000000010000000000000001;
        }
    }

    /// @dev Whether `value` is in [from, end), where an end of 0 is none.
    function _within(uint256 from, uint256 end, uint256 value) private pure returns (bool) {
        return value >= from && (end == 0 || value < end);
    }

    /// @dev How many criteria an entry states, and below that which: the weightiest is the highest bit.
    function _rank(ScheduleEntry memory entry) private pure returns (uint256 rank) {
        uint256 codes = _statedCodes(uint256(entry.facts));
        uint256 stated;
        for (uint256 code = 0; code < 4; ++code) {
            stated |= (codes >> (code * 64) & 1) << (code + CODE_CRITERIA);
        }
        if (entry.currency != 0) stated |= 4;
        if (entry.amountFrom | entry.amountBelow != 0) stated |= 2;
        if (entry.validFrom | entry.validUntil != 0) stated |= 1;
        for (uint256 rest = stated; rest != 0; rest &= rest - 1) {
            rank += 1 << CRITERIA;
        }
        rank |= stated;
    }

    /// @dev Whether one order could match both of two entries that state the same criteria.
    function _overlap(ScheduleEntry memory one, ScheduleEntry memory other) private pure returns (bool) {
        return one.facts == other.facts && one.currency == other.currency
            && _meet(one.amountFrom, one.amountBelow, other.amountFrom, other.amountBelow)
            && _meet(one.validFrom, one.validUntil, other.validFrom, other.validUntil);
    }

    /// @dev Whether [from, end) and [from2, end2) have something in common: then the later start is in both.
    function _meet(uint256 from, uint256 end, uint256 from2, uint256 end2) private pure returns (bool) {
        uint256 start = Math.max(from, from2);
        return _within(from, end, start) && _within(from2, end2, start);
    }

    function _validateValues(ScheduleEntry memory entry, uint256 i) private pure {
        if (!_areCodes(entry.facts)) revert ISchedules.Schedule_Facts(i, entry.facts);
        if (entry.amountBelow != 0 && entry.amountFrom >= entry.amountBelow) {
            revert ISchedules.Schedule_Amounts(i, entry.amountFrom, entry.amountBelow);
        }
        if (entry.validUntil != 0 && entry.validFrom >= entry.validUntil) {
            revert ISchedules.Schedule_Times(i, entry.validFrom, entry.validUntil);
        }
        if (entry.ruleId == 0 || entry.ruleId == SCHEDULE) revert ISchedules.Schedule_Rule(i, entry.ruleId);
    }

    /// @dev Whether all bytes are ASCII, and in none of the four codes one follows a zero.
    function _areCodes(bytes32 facts) private pure returns (bool) {
        for (uint256 i = 0; i < 32; ++i) {
            if (uint8(facts[i]) > 0x7f) return false;
            if (i & 7 != 0 && facts[i] != 0 && facts[i - 1] == 0) return false;
        }
        return true;
    }

    function _first(bytes memory packed) private pure returns (uint256 place) {
        assembly ("memory-safe") {
            place := add(packed, 0x20)
        }
    }
}
