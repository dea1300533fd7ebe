// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {SlotDerivation} from "@openzeppelin/contracts/utils/SlotDerivation.sol";
import {ILedgerView} from "./interfaces/ILedgerView.sol";
import {ISplitLedger} from "./interfaces/ISplitLedger.sol";

/// @title Answers about a split ledger, from the words of its storage
/// @notice See ILedgerView.
contract LedgerView is ILedgerView {
    using SlotDerivation for bytes32;

    /// @dev Slots of SplitLedger's state variables: those of AccessManaged and EIP712, the members of its books in their
    /// order, and its own.
    enum Variable {
        AUTHORITY,
        EIP712_NAME,
        EIP712_VERSION,
        ORDERS,
        POSITIONS,
        TOTALS,
        ENABLED,
        REFUNDED,
        SHARED_OUT,
        NONCES,
        BATCH_ROOTS,
        BATCH_COUNT
    }

    ISplitLedger public immutable ledger;

    constructor(ISplitLedger ledger_) {
        ledger = ledger_;
    }

    /// @inheritdoc ILedgerView
    function orderSlots(bytes32[] calldata orderIds) external view returns (uint256[] memory) {
        return _entries(_slot(Variable.ORDERS), orderIds);
    }

    /// @inheritdoc ILedgerView
    function positions(bytes3 currency, bytes32[] calldata participants) external view returns (int256[] memory amounts) {
        uint256[] memory words = _entries(_slot(Variable.POSITIONS).deriveMapping(currency), participants);
        assembly ("memory-safe") {
            amounts := words
        }
    }

    /// @inheritdoc ILedgerView
    function totals(bytes3 currency)
        external
        view
        returns (uint256 captured, uint256 held, uint256 refunded, bool enabled)
    {
        uint256 both = _word(_slot(Variable.TOTALS).deriveMapping(currency));
        captured = uint128(both);
        held = both >> 128;
        refunded = _word(_slot(Variable.REFUNDED).deriveMapping(currency));
        enabled = _word(_slot(Variable.ENABLED).deriveMapping(currency)) & 0xff == 1;
    }

    /// @inheritdoc ILedgerView
    function sharedOut(bytes32[] calldata orderIds) external view returns (uint256[] memory) {
        return _entries(_slot(Variable.SHARED_OUT), orderIds);
    }

    /// @inheritdoc ILedgerView
    function batchRoot(uint256 batch) public view returns (bytes32) {
        return bytes32(_word(_slot(Variable.BATCH_ROOTS).deriveMapping(batch)));
    }

    /// @inheritdoc ILedgerView
    function batchCount() external view returns (uint256) {
        return _word(_slot(Variable.BATCH_COUNT));
    }

    /// @inheritdoc ILedgerView
    function isRecorded(uint256 batch, bytes32 leaf, bytes32[] calldata proof) external view returns (bool) {
        bytes32 root = batchRoot(batch);
        return root != bytes32(0) && MerkleProof.verifyCalldata(proof, root, leaf);
    }

    /// @inheritdoc ILedgerView
    function nonceBitmap(bytes32 signer, uint256 word) external view returns (uint256) {
        return _word(_slot(Variable.NONCES).deriveMapping(signer).deriveMapping(word));
    }

    function _slot(Variable variable) private pure returns (bytes32) {
        return bytes32(uint256(variable));
    }

    function _word(bytes32 slot) private view returns (uint256) {
        bytes32[] memory slots = new bytes32[](1);
        slots[0] = slot;
        return uint256(ledger.load(slots)[0]);
    }

    /// @dev The entries of a mapping at `place`.
    function _entries(bytes32 place, bytes32[] calldata keys) private view returns (uint256[] memory words) {
        bytes32[] memory slots = new bytes32[](keys.length);
        for (uint256 k = 0; k < keys.length; ++k) {
            slots[k] = place.deriveMapping(keys[k]);
        }
        slots = ledger.load(slots);
        assembly ("memory-safe") {
            words := slots
        }
    }
}
