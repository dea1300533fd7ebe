// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {
    Attestation,
    Authorization,
    Capture,
    ISplitLedger,
    Instruction,
    OrderWitness
} from "../interfaces/ISplitLedger.sol";
import {Words} from "./Words.sol";

/// @title EIP-712 struct hashes of what attestors and platforms sign, and where its parts stand in calldata
/// @notice Hashing looks at every capture and instruction first, and so it is here that calldata is checked: fields are in
/// range, and structs stand one behind the other as the standard ABI encoding puts them. Everything later reads single
/// words at fixed distances. Other calldata reverts: it is no record of what was signed.
library Typed {
    bytes32 private constant CAPTURE = keccak256(
        "Capture(bytes32 orderId,bytes32 platform,bytes32 merchant,bytes32 ruleId,uint32 ruleVersion,bytes3 currency,uint96 amount,uint64 holdUntil,uint64 expiresAt,bytes32 facts,bytes32 condition,bytes32[] bindings)"
    );
    bytes32 private constant ATTESTATION = keccak256(
        "Attestation(address attestor,uint256 nonce,uint64 deadline,Capture[] captures)"
        "Capture(bytes32 orderId,bytes32 platform,bytes32 merchant,bytes32 ruleId,uint32 ruleVersion,bytes3 currency,uint96 amount,uint64 holdUntil,uint64 expiresAt,bytes32 facts,bytes32 condition,bytes32[] bindings)"
    );
    bytes32 private constant INSTRUCTION = keccak256(
        "Instruction(uint8 kind,bytes32 id,bytes32 orderId,bytes32 splitId,uint96 amount,bytes32[] bindings,uint96[] amounts)"
    );
    bytes32 private constant AUTHORIZATION = keccak256(
        "Authorization(bytes32 platform,uint256 nonce,uint64 deadline,Instruction[] instructions)"
        "Instruction(uint8 kind,bytes32 id,bytes32 orderId,bytes32 splitId,uint96 amount,bytes32[] bindings,uint96[] amounts)"
    );

    /// @dev Of an empty list. Most instructions have neither bindings nor amounts.
    bytes32 private constant NOTHING = keccak256("");

    /// @notice Hash of a capture, and how many bytes of calldata it takes.
    /// @dev Head: orderId, platform, merchant, ruleId, ruleVersion, currency, amount, holdUntil, expiresAt, facts,
    /// condition, offset of bindings. Then bindings.
    function hash(Capture calldata c) internal pure returns (bytes32 result, uint256 size) {
        bytes32 typeHash = CAPTURE;
        uint256 irregular;
        assembly ("memory-safe") {
            let count := calldataload(add(c, 0x180))
            let bindings := shl(5, count)
            size := add(0x1a0, bindings)
            irregular := or(
                or(
                    or(shr(32, or(calldataload(add(c, 0x80)), count)), shl(24, calldataload(add(c, 0xa0)))),
                    shr(64, or(calldataload(add(c, 0xe0)), calldataload(add(c, 0x100))))
                ),
                or(
                    or(shr(96, calldataload(add(c, 0xc0))), xor(0x180, calldataload(add(c, 0x160)))),
                    gt(add(c, size), calldatasize())
                )
            )
            let m := mload(0x40)
            if iszero(irregular) {
                mstore(m, typeHash)
                calldatacopy(add(m, 0x20), c, size)
                mstore(add(m, 0x180), keccak256(add(m, 0x1c0), bindings))
                result := keccak256(m, 0x1a0)
            }
        }
        if (irregular != 0) revert ISplitLedger.SplitLedger_IrregularCalldata();
    }

    /// @notice Hash of an instruction, and how many bytes of calldata it takes.
    /// @dev Head: kind, id, orderId, splitId, amount, offsets of bindings and amounts. Then bindings, then amounts.
    function hash(Instruction calldata i) internal pure returns (bytes32 result, uint256 size) {
        bytes32 typeHash = INSTRUCTION;
        bytes32 nothing = NOTHING;
        uint256 irregular;
        assembly ("memory-safe") {
            let count := calldataload(add(i, 0xe0))
            let bindings := shl(5, count)
            let place := add(0x100, bindings)
            let others := calldataload(add(i, place))
            let amounts := shl(5, others)
            size := add(add(place, 0x20), amounts)
            irregular := or(
                or(gt(calldataload(i), 3), shr(96, calldataload(add(i, 0x80)))),
                or(
                    or(xor(0xe0, calldataload(add(i, 0xa0))), xor(place, calldataload(add(i, 0xc0)))),
                    or(shr(32, or(count, others)), gt(add(i, size), calldatasize()))
                )
            )
            let m := mload(0x40)
            if iszero(irregular) {
                mstore(m, typeHash)
                calldatacopy(add(m, 0x20), i, 0xa0)
                mstore(add(m, 0xc0), nothing)
                mstore(add(m, 0xe0), nothing)
                if or(count, others) {
                    calldatacopy(add(m, 0x100), add(i, 0x100), bindings)
                    mstore(add(m, 0xc0), keccak256(add(m, 0x100), bindings))
                    calldatacopy(add(m, 0x100), add(i, add(place, 0x20)), amounts)
                    mstore(add(m, 0xe0), keccak256(add(m, 0x100), amounts))
                }
                result := keccak256(m, 0x100)
            }
        }
        if (irregular != 0) revert ISplitLedger.SplitLedger_IrregularCalldata();
    }

    /// @notice Hash of the capture of a witness, which stands right behind the witness's head.
    function hash(OrderWitness calldata given, Capture calldata c) internal pure returns (bytes32 result) {
        bool behind;
        assembly ("memory-safe") {
            behind := eq(c, add(given, 0x60))
        }
        if (!behind) revert ISplitLedger.SplitLedger_IrregularCalldata();
        (result,) = hash(c);
    }

    /// @notice Hashes of captures, as consecutive words of memory at `list`.
    function hashes(Capture[] calldata captures) internal pure returns (uint256 list) {
        unchecked {
            uint256 length = captures.length << 5;
            list = Words.allocate(captures.length);
            uint256 expected = length;
            uint256 irregular;
            for (uint256 k = 0; k < length; k += 32) {
                irregular |= _offset(captures, k) ^ expected;
                (bytes32 result, uint256 size) = hash(captureAt(captures, k));
                Words.put(list + k, uint256(result));
                expected += size;
            }
            if (irregular != 0) revert ISplitLedger.SplitLedger_IrregularCalldata();
        }
    }

    /// @param captures hashes of its captures, as `hashes` gives them.
    function hash(Attestation calldata a, uint256 captures) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(ATTESTATION, a.attestor, a.nonce, a.deadline, _ofWords(captures, a.captures.length))
        );
    }

    function hash(Authorization calldata a) internal pure returns (bytes32) {
        unchecked {
            Instruction[] calldata instructions = a.instructions;
            uint256 length = instructions.length << 5;
            uint256 list = Words.allocate(instructions.length);
            uint256 expected = length;
            uint256 irregular;
            for (uint256 k = 0; k < length; k += 32) {
                (bytes32 result, uint256 size) = hash(instructionAt(instructions, k));
                Words.put(list + k, uint256(result));
                irregular |= _offset(instructions, k) ^ expected;
                expected += size;
            }
            if (irregular != 0) revert ISplitLedger.SplitLedger_IrregularCalldata();
            bytes32 all = _ofWords(list, instructions.length);
            Words.rewind(list);
            return keccak256(abi.encode(AUTHORIZATION, a.platform, a.nonce, a.deadline, all));
        }
    }

    // Where things stand in calldata that was hashed above. `k` is 32 times the index.

    function captureAt(Capture[] calldata captures, uint256 k) internal pure returns (Capture calldata capture) {
        assembly ("memory-safe") {
            capture := add(captures.offset, calldataload(add(captures.offset, k)))
        }
    }

    function instructionAt(Instruction[] calldata instructions, uint256 k)
        internal
        pure
        returns (Instruction calldata instruction)
    {
        assembly ("memory-safe") {
            instruction := add(instructions.offset, calldataload(add(instructions.offset, k)))
        }
    }

    function versionOf(Capture calldata c) internal pure returns (uint256 version) {
        assembly ("memory-safe") {
            version := calldataload(add(c, 0x80))
        }
    }

    function currencyOf(Capture calldata c) internal pure returns (uint256 currency) {
        assembly ("memory-safe") {
            currency := calldataload(add(c, 0xa0))
        }
    }

    function amountOf(Capture calldata c) internal pure returns (uint256 amount) {
        assembly ("memory-safe") {
            amount := calldataload(add(c, 0xc0))
        }
    }

    function holdUntilOf(Capture calldata c) internal pure returns (uint256 time) {
        assembly ("memory-safe") {
            time := calldataload(add(c, 0xe0))
        }
    }

    function expiresAtOf(Capture calldata c) internal pure returns (uint256 time) {
        assembly ("memory-safe") {
            time := calldataload(add(c, 0x100))
        }
    }

    function conditionOf(Capture calldata c) internal pure returns (uint256 condition) {
        assembly ("memory-safe") {
            condition := calldataload(add(c, 0x140))
        }
    }

    /// @notice 0 for an order with neither holdUntil nor expiresAt.
    function timesOf(Capture calldata c) internal pure returns (uint256 times) {
        assembly ("memory-safe") {
            times := or(calldataload(add(c, 0xe0)), calldataload(add(c, 0x100)))
        }
    }

    /// @notice 0 for an order that has none of holdUntil, expiresAt, facts and condition.
    function termsOf(Capture calldata c) internal pure returns (uint256 terms) {
        assembly ("memory-safe") {
            terms := or(
                or(calldataload(add(c, 0xe0)), calldataload(add(c, 0x100))),
                or(calldataload(add(c, 0x120)), calldataload(add(c, 0x140)))
            )
        }
    }

    function kindOf(Instruction calldata i) internal pure returns (uint256 kind) {
        assembly ("memory-safe") {
            kind := calldataload(i)
        }
    }

    function amountOf(Instruction calldata i) internal pure returns (uint256 amount) {
        assembly ("memory-safe") {
            amount := calldataload(add(i, 0x80))
        }
    }

    function bindingsOf(Capture calldata c) internal pure returns (bytes32[] calldata bindings) {
        assembly ("memory-safe") {
            bindings.offset := add(c, 0x1a0)
            bindings.length := calldataload(add(c, 0x180))
        }
    }

    /// @dev There must be one.
    function lastBindingOf(Capture calldata c) internal pure returns (bytes32 last) {
        assembly ("memory-safe") {
            let count := add(c, 0x180)
            last := calldataload(add(count, shl(5, calldataload(count))))
        }
    }

    function bindingsOf(Instruction calldata i) internal pure returns (bytes32[] calldata bindings) {
        assembly ("memory-safe") {
            bindings.offset := add(i, 0x100)
            bindings.length := calldataload(add(i, 0xe0))
        }
    }

    /// @dev The words of `amounts` are not checked by hashing.
    function amountsOf(Instruction calldata i) internal pure returns (uint96[] calldata amounts) {
        assembly ("memory-safe") {
            let place := add(i, calldataload(add(i, 0xc0)))
            amounts.offset := add(place, 0x20)
            amounts.length := calldataload(place)
        }
    }

    /// @notice Whether all words are amounts (below 2^96), and then their sum. Reading a larger one as a uint96 would
    /// revert, and with it the instruction's neighbours.
    /// @dev A transaction has room for far fewer words than the sum would need to wrap.
    function sumOf(uint96[] calldata amounts) internal pure returns (bool fit, uint256 sum) {
        uint256 all;
        for (uint256 k = 0; k < amounts.length; ++k) {
            uint256 word;
            assembly ("memory-safe") {
                word := calldataload(add(amounts.offset, shl(5, k)))
            }
            all |= word;
            unchecked {
                sum += word;
            }
        }
        fit = all <= type(uint96).max;
    }

    function _offset(Capture[] calldata list, uint256 k) private pure returns (uint256 offset) {
        assembly ("memory-safe") {
            offset := calldataload(add(list.offset, k))
        }
    }

    function _offset(Instruction[] calldata list, uint256 k) private pure returns (uint256 offset) {
        assembly ("memory-safe") {
            offset := calldataload(add(list.offset, k))
        }
    }

    function _ofWords(uint256 position, uint256 count) private pure returns (bytes32 result) {
        assembly ("memory-safe") {
            result := keccak256(position, shl(5, count))
        }
    }
}
