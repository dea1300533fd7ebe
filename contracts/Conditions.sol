// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {Condition, ConditionState, IConditions, Obstacle} from "./interfaces/IConditions.sol";
import {IParticipantRegistry, ParticipantStatus} from "./interfaces/IParticipantRegistry.sol";
import {ISplitLedger} from "./interfaces/ISplitLedger.sol";
import {Freezes} from "./libraries/Freezes.sol";

/// @title What may stop an order
/// @notice See IConditions.
contract Conditions is IConditions, AccessManaged, EIP712 {
    bytes32 private constant CONDITION_TYPEHASH = keccak256(
        "Condition(bytes32 platform,bytes32 conditionId,uint32 needed,uint64 deadline,bytes32 confirmer)"
    );
    bytes32 private constant CONFIRMATION_TYPEHASH = keccak256("Confirmation(bytes32 platform,bytes32 conditionId)");

    /// @dev `deadline` is 0 for a condition that nobody opened.
    struct Entry {
        bytes32 confirmer;
        uint64 deadline;
        uint32 needed;
        uint32 count;
        bool confirmed;
        bool reached;
    }

    IParticipantRegistry public immutable registry;
    mapping(bytes32 platform => mapping(bytes32 conditionId => Entry)) private _conditions;
    mapping(bytes32 orderId => mapping(bytes32 splitId => Freezes.Freeze)) private _freezes;
    uint256 public frozenCount;

    constructor(address accessManager, IParticipantRegistry registry_)
        AccessManaged(accessManager)
        EIP712("fenzhang Conditions", "1")
    {
        registry = registry_;
    }

    /// @inheritdoc IConditions
    function open(Condition calldata c, bytes calldata signature) external {
        // check
        _checkSignature(c.platform, keccak256(abi.encode(CONDITION_TYPEHASH, c)), signature);
        if (c.conditionId == bytes32(0)) revert Conditions_ZeroCondition();
        Entry storage entry = _conditions[c.platform][c.conditionId];
        if (entry.deadline != 0) revert Conditions_AlreadyOpened(c.conditionId);
        if (c.needed == 0 && c.confirmer == bytes32(0)) revert Conditions_NothingNeeded(c.conditionId);
        if (c.deadline <= block.timestamp) {
            revert Conditions_DeadlinePassed(c.conditionId, c.deadline, block.timestamp);
        }
        if (c.confirmer != bytes32(0)) _activeAuthority(c.confirmer);
        // effect
        entry.confirmer = c.confirmer;
        entry.deadline = c.deadline;
        entry.needed = c.needed;
        emit ConditionOpened(c.platform, c.conditionId, c.needed, c.deadline, c.confirmer);
    }

    /// @inheritdoc IConditions
    function confirm(bytes32 platform, bytes32 conditionId, bytes calldata signature) external {
        // check
        Entry storage entry = _conditions[platform][conditionId];
        if (entry.deadline == 0) revert Conditions_UnknownCondition(conditionId);
        if (entry.confirmer == bytes32(0)) revert Conditions_NoConfirmer(conditionId);
        _checkSignature(
            entry.confirmer, keccak256(abi.encode(CONFIRMATION_TYPEHASH, platform, conditionId)), signature
        );
        if (entry.confirmed) revert Conditions_AlreadyConfirmed(conditionId);
        if (block.timestamp > entry.deadline) {
            revert Conditions_DeadlinePassed(conditionId, entry.deadline, block.timestamp);
        }
        // effect
        entry.confirmed = true;
        emit ConditionConfirmed(platform, conditionId);
        _reachIfComplete(entry, platform, conditionId);
    }

    /// @inheritdoc IConditions
    function join(bytes32 platform, bytes32 conditionId, bytes32 orderId)
        external
        restricted
        returns (Obstacle what, bytes memory reason)
    {
        Entry storage entry = _conditions[platform][conditionId];
        if (entry.deadline == 0) {
            reason = abi.encodeWithSelector(ISplitLedger.SplitLedger_UnknownCondition.selector, conditionId);
            return (Obstacle.CONDITION_UNKNOWN, reason);
        }
        if (block.timestamp > entry.deadline) return (what, reason);
        uint32 count = ++entry.count;
        emit ConditionJoined(platform, conditionId, orderId, count);
        _reachIfComplete(entry, platform, conditionId);
    }

    /// @inheritdoc IConditions
    function setFrozen(bytes32 orderId, bytes32 splitId, bool frozen, bytes32 reason) external restricted {
        Freezes.change(_freezes[orderId][splitId], frozen, reason);
        if (frozen) ++frozenCount;
        else --frozenCount;
        emit FreezeChanged(orderId, splitId, msg.sender, frozen, reason);
    }

    /// @inheritdoc IConditions
    function obstacle(bytes32 platform, bytes32 conditionId, bytes32 orderId, bytes32 splitId)
        external
        view
        returns (Obstacle what, bytes memory reason)
    {
        ConditionState state;
        if (conditionId != bytes32(0)) state = _stateOf(_conditions[platform][conditionId]);
        if (state == ConditionState.OPEN) {
            reason = abi.encodeWithSelector(ISplitLedger.SplitLedger_ConditionOpen.selector, orderId, conditionId);
            return (Obstacle.CONDITION_OPEN, reason);
        }
        if (frozenCount != 0 && _freezes[orderId][splitId].guardian != address(0)) {
            reason = splitId == bytes32(0)
                ? abi.encodeWithSelector(ISplitLedger.SplitLedger_OrderFrozen.selector, orderId)
                : abi.encodeWithSelector(ISplitLedger.SplitLedger_SplitFrozen.selector, orderId, splitId);
            return (Obstacle.FROZEN, reason);
        }
        if (state == ConditionState.MISSED) {
            reason = abi.encodeWithSelector(ISplitLedger.SplitLedger_ConditionMissed.selector, orderId, conditionId);
            return (Obstacle.CONDITION_MISSED, reason);
        }
    }

    /// @inheritdoc IConditions
    function isFrozen(bytes32 orderId) external view returns (bool) {
        return orderId == bytes32(0) ? frozenCount != 0 : _freezes[orderId][bytes32(0)].guardian != address(0);
    }

    /// @inheritdoc IConditions
    function freezeOf(bytes32 orderId, bytes32 splitId) external view returns (address guardian, bytes32 reason) {
        Freezes.Freeze storage found = _freezes[orderId][splitId];
        return (found.guardian, found.reason);
    }

    /// @inheritdoc IConditions
    function conditionOf(bytes32 platform, bytes32 conditionId)
        external
        view
        returns (
            uint32 needed,
            uint64 deadline,
            bytes32 confirmer,
            uint32 count,
            bool confirmed,
            ConditionState state
        )
    {
        Entry storage entry = _conditions[platform][conditionId];
        return
            (entry.needed, entry.deadline, entry.confirmer, entry.count, entry.confirmed, _stateOf(entry));
    }

    function _reachIfComplete(Entry storage entry, bytes32 platform, bytes32 conditionId) private {
        if (entry.reached || entry.count < entry.needed) return;
        if (entry.confirmer != bytes32(0) && !entry.confirmed) return;
        entry.reached = true;
        emit ConditionReached(platform, conditionId);
    }

    function _stateOf(Entry storage entry) private view returns (ConditionState) {
        if (entry.deadline == 0) return ConditionState.UNKNOWN;
        if (entry.reached) return ConditionState.REACHED;
        return block.timestamp > entry.deadline ? ConditionState.MISSED : ConditionState.OPEN;
    }

    function _checkSignature(bytes32 signer, bytes32 structHash, bytes calldata signature) private view {
        bytes32 digest = _hashTypedDataV4(structHash);
        if (!SignatureChecker.isValidSignatureNowCalldata(_activeAuthority(signer), digest, signature)) {
            revert Conditions_InvalidSignature(signer);
        }
    }

    function _activeAuthority(bytes32 participant) private view returns (address authority_) {
        ParticipantStatus status;
        (status, authority_) = registry.participantOf(participant);
        if (status != ParticipantStatus.ACTIVE || authority_ == address(0)) revert Conditions_NotActive(participant);
    }
}
