// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Attestation, Authorization, Capture, Instruction} from "../interfaces/ISplitLedger.sol";

/// @title EIP-712 struct hashes of what attestors and platforms sign
library Typed {
    bytes32 private constant CAPTURE = keccak256(
        "Capture(bytes32 orderId,bytes32 platform,bytes32 merchant,bytes32 ruleId,uint32 ruleVersion,bytes3 currency,uint96 amount,bytes32[] bindings)"
    );
    bytes32 private constant ATTESTATION = keccak256(
        "Attestation(address attestor,uint256 nonce,uint64 deadline,Capture[] captures)"
        "Capture(bytes32 orderId,bytes32 platform,bytes32 merchant,bytes32 ruleId,uint32 ruleVersion,bytes3 currency,uint96 amount,bytes32[] bindings)"
    );
    bytes32 private constant INSTRUCTION = keccak256(
        "Instruction(uint8 kind,bytes32 id,bytes32 orderId,bytes32 splitId,uint96 amount,bytes32[] bindings,uint96[] amounts)"
    );
    bytes32 private constant AUTHORIZATION = keccak256(
        "Authorization(bytes32 platform,uint256 nonce,uint64 deadline,Instruction[] instructions)"
        "Instruction(uint8 kind,bytes32 id,bytes32 orderId,bytes32 splitId,uint96 amount,bytes32[] bindings,uint96[] amounts)"
    );

    function hash(Capture calldata c) internal pure returns (bytes32 result) {
        bytes32 typeHash = CAPTURE;
        bytes32 bindings = _words(c.bindings);
        uint256 m = _free();
        _put(m, typeHash, c.orderId, c.platform, c.merchant);
        _put(m + 0x80, c.ruleId, bytes32(uint256(c.ruleVersion)), bytes32(c.currency), bytes32(uint256(c.amount)));
        assembly ("memory-safe") {
            mstore(add(m, 0x100), bindings)
            result := keccak256(m, 0x120)
        }
    }

    function hash(Instruction calldata i) internal pure returns (bytes32 result) {
        bytes32 typeHash = INSTRUCTION;
        bytes32 bindings = _words(i.bindings);
        bytes32 amounts = _words(i.amounts);
        uint256 m = _free();
        _put(m, typeHash, bytes32(uint256(i.kind)), i.id, i.orderId);
        _put(m + 0x80, i.splitId, bytes32(uint256(i.amount)), bindings, amounts);
        assembly ("memory-safe") {
            result := keccak256(m, 0x100)
        }
    }

    /// @param captures struct hashes of its captures, in order.
    function hash(Attestation calldata a, bytes32[] memory captures) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(ATTESTATION, a.attestor, a.nonce, a.deadline, keccak256(abi.encodePacked(captures)))
        );
    }

    function hash(Authorization calldata a) internal pure returns (bytes32) {
        bytes32[] memory instructions = new bytes32[](a.instructions.length);
        for (uint256 k = 0; k < instructions.length; ++k) {
            instructions[k] = hash(a.instructions[k]);
        }
        return keccak256(
            abi.encode(AUTHORIZATION, a.platform, a.nonce, a.deadline, keccak256(abi.encodePacked(instructions)))
        );
    }

    function _words(bytes32[] calldata words) private pure returns (bytes32 result) {
        assembly ("memory-safe") {
            let m := mload(0x40)
            let size := mul(words.length, 0x20)
            calldatacopy(m, words.offset, size)
            result := keccak256(m, size)
        }
    }

    function _words(uint96[] calldata words) private pure returns (bytes32 result) {
        assembly ("memory-safe") {
            let m := mload(0x40)
            let size := mul(words.length, 0x20)
            calldatacopy(m, words.offset, size)
            result := keccak256(m, size)
        }
    }

    function _free() private pure returns (uint256 m) {
        assembly ("memory-safe") {
            m := mload(0x40)
        }
    }

    /// @dev Four words into scratch memory past the free pointer, which is hashed at once and never allocated.
    function _put(uint256 m, bytes32 a, bytes32 b, bytes32 c, bytes32 d) private pure {
        assembly ("memory-safe") {
            mstore(m, a)
            mstore(add(m, 0x20), b)
            mstore(add(m, 0x40), c)
            mstore(add(m, 0x60), d)
        }
    }
}
