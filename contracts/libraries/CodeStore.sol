// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Data kept as contract code
/// @notice What is written once this way can be read cheaply and changed by nobody. The code starts with STOP, so calling
/// it does nothing.
library CodeStore {
    error CodeStore_WriteFailed();

    /// @dev Creation code that deploys what follows it:
    /// PUSH1 11, DUP1, CODESIZE, SUB, DUP1, SWAP2, PUSH0, CODECOPY, PUSH0, RETURN.
    bytes11 private constant RETURN_REST = hex"600b80380380915f395ff3";

    /// @notice Stores `data` as the code of a new contract.
    function write(bytes memory data) internal returns (address blob) {
        bytes memory creation = abi.encodePacked(RETURN_REST, bytes1(0), data);
        assembly ("memory-safe") {
            blob := create(0, add(creation, 0x20), mload(creation))
        }
        if (blob == address(0)) revert CodeStore_WriteFailed();
    }

    /// @notice Reads what `write` stored.
    function read(address blob) internal view returns (bytes memory data) {
        bytes memory code = blob.code;
        assembly ("memory-safe") {
            let length := sub(mload(code), 1)
            data := add(code, 1)
            mstore(data, length)
        }
    }
}
