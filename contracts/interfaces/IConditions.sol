// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IParticipantRegistry} from "./IParticipantRegistry.sol";

/// @notice What a platform signs to open a condition. Orders that are captured with it are not split or released before it is
/// reached. `needed`: so many of them are captured (a group buy), 0 for none. `confirmer`: the participant that confirms, a
/// delivery say, zero for nobody. At least one of both; and all of it until `deadline` (Unix seconds, that second included).
struct Condition {
    bytes32 platform;
    bytes32 conditionId;
    uint32 needed;
    uint64 deadline;
    bytes32 confirmer;
}

enum ConditionState {
    UNKNOWN,
    OPEN,
    REACHED,
    MISSED
}

/// @notice What stops an order.
enum Obstacle {
    NONE,
    CONDITION_UNKNOWN,
    CONDITION_OPEN,
    FROZEN,
    CONDITION_MISSED
}

/// @title What may stop an order: its condition, and the freezes of guardians
/// @notice A condition belongs to its platform: the same `conditionId` under another platform is another condition. It is REACHED,
/// for ever, as soon as enough orders have joined it and its confirmer has confirmed it; if that has not happened by its
/// deadline it is MISSED, for ever. Nobody can change or end a condition.
///
/// Only the SplitLedger lets orders join, when it captures them. One that is captured after the deadline does not count.
interface IConditions {
    /// @notice A platform opened a condition.
    event ConditionOpened(
        bytes32 indexed platform,
        bytes32 indexed conditionId,
        uint32 needed,
        uint64 deadline,
        bytes32 indexed confirmer
    );
    /// @notice An order was captured in time, the `count`-th one of the condition.
    event ConditionJoined(
        bytes32 indexed platform, bytes32 indexed conditionId, bytes32 indexed orderId, uint32 count
    );
    /// @notice The confirmer confirmed.
    event ConditionConfirmed(bytes32 indexed platform, bytes32 indexed conditionId);
    /// @notice From now on, the orders of the condition are split and released like others.
    event ConditionReached(bytes32 indexed platform, bytes32 indexed conditionId);
    /// @notice A guardian froze an order (`splitId` zero) or a split of it, or another one undid that.
    event FreezeChanged(
        bytes32 indexed orderId, bytes32 indexed splitId, address indexed guardian, bool frozen, bytes32 reason
    );

    error Conditions_NotActive(bytes32 participant);
    error Conditions_InvalidSignature(bytes32 signer);
    error Conditions_ZeroCondition();
    error Conditions_AlreadyOpened(bytes32 conditionId);
    error Conditions_NothingNeeded(bytes32 conditionId);
    error Conditions_DeadlinePassed(bytes32 conditionId, uint64 deadline, uint256 timestamp);
    error Conditions_UnknownCondition(bytes32 conditionId);
    error Conditions_NoConfirmer(bytes32 conditionId);
    error Conditions_AlreadyConfirmed(bytes32 conditionId);

    /// @notice Opens a condition, with a deadline that is still to come. Anyone may relay it; the signature is the platform
    /// authority's (ECDSA or ERC-1271) over the EIP-712 struct Condition. A confirmer is an ACTIVE participant that has an authority.
    function open(Condition calldata condition, bytes calldata signature) external;

    /// @notice Confirms a condition in time, once. Anyone may relay it; the signature is over
    /// Confirmation(bytes32 platform,bytes32 conditionId) and that of the authority that its confirmer has now, ACTIVE.
    function confirm(bytes32 platform, bytes32 conditionId, bytes calldata signature) external;

    /// @notice Counts an order that is being captured. The SplitLedger only.
    /// @return what CONDITION_UNKNOWN when the platform has no such condition, and then `reason` is that of the rejection.
    function join(bytes32 platform, bytes32 conditionId, bytes32 orderId)
        external
        returns (Obstacle what, bytes memory reason);

    /// @notice Freezes an order (`splitId` zero): nothing moves its held money, and no split of it is returned. Or one of its
    /// splits: nothing is returned from it. Or undoes that, for which it takes another account than the one that froze.
    /// Guardians only. `reason` is an ASCII name, left aligned. What is not captured or split yet may be frozen as well.
    function setFrozen(bytes32 orderId, bytes32 splitId, bool frozen, bytes32 reason) external;

    /// @notice Why an order cannot be split, released or expired now (`splitId` zero), or nothing be returned from a split of it:
    /// the first of CONDITION_OPEN, FROZEN and CONDITION_MISSED that applies, and its encoded error of SplitLedger.
    /// @param conditionId the order's condition; zero for none, or to ask for freezes alone.
    function obstacle(bytes32 platform, bytes32 conditionId, bytes32 orderId, bytes32 splitId)
        external
        view
        returns (Obstacle what, bytes memory reason);

    /// @notice Whether an order as a whole is frozen; of zero, whether any order or split is.
    function isFrozen(bytes32 orderId) external view returns (bool);

    /// @notice How many orders and splits are frozen.
    function frozenCount() external view returns (uint256);

    /// @notice Who froze an order or split, and why; zero when it is not frozen.
    function freezeOf(bytes32 orderId, bytes32 splitId) external view returns (address guardian, bytes32 reason);

    /// @notice A condition as it is now: what was signed, how many orders have joined it, whether it was confirmed, its state.
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
        );

    function registry() external view returns (IParticipantRegistry);
}
