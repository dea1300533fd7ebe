// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice Standing of a participant. Only an ACTIVE participant may receive money or author instructions.
enum ParticipantStatus {
    UNKNOWN,
    ACTIVE,
    SUSPENDED,
    CLOSED
}

/// @title Who takes part, who signs for whom, and who agreed to be paid by whom
/// @notice Participants are `bytes32` tokens that reveal nothing about the person behind them. A platform is a
/// participant with a signing `authority`. A recipient agrees (consents) to receive from a platform.
///
/// Warning: ids are public for ever. Draw them at random or from a keyed hash; never hash a name or phone number.
/// Warning: an authority change takes effect at once. Authorizations signed by the old authority and not yet
/// settled are refused afterwards.
interface IParticipantRegistry {
    /// @notice A participant was enrolled, and is ACTIVE from this moment.
    event ParticipantEnrolled(bytes32 indexed participant, address indexed authority);
    /// @notice The standing of a participant changed.
    event ParticipantStatusChanged(bytes32 indexed participant, ParticipantStatus status);
    /// @notice A participant's signing address changed.
    event AuthorityRotated(bytes32 indexed participant, address indexed previous, address indexed next);
    /// @notice A recipient agreed, or no longer agrees, to receive from a platform. Orders captured before are
    /// not affected.
    event ConsentChanged(bytes32 indexed recipient, bytes32 indexed platform, bool granted);
    /// @notice From now on, splits of a platform's orders may give at most so many basis points of what an order captured to
    /// others than its merchant; 0 means no cap.
    event MaxShareOutChanged(bytes32 indexed platform, uint16 maxShareOut);

    /// @notice A guardian named who gets what waits for a closed participant.
    event HeirNamed(bytes32 indexed participant, bytes32 indexed heir, address indexed guardian);
    /// @notice A guardian froze a participant, or another one undid that.
    event ParticipantFreezeChanged(
        bytes32 indexed participant, address indexed guardian, bool frozen, bytes32 reason
    );
    /// @notice A participant stands directly below `parent` now, on `level`; a zero parent is nobody, on level 1.
    event ParticipantPlaced(bytes32 indexed participant, bytes32 indexed parent, uint8 level);

    error ParticipantRegistry_ZeroParticipant();
    error ParticipantRegistry_AlreadyEnrolled(bytes32 participant);
    error ParticipantRegistry_SuspenseId(bytes32 participant);
    error ParticipantRegistry_ReservedId(bytes32 participant);
    error ParticipantRegistry_OwnHeir(bytes32 participant);
    error ParticipantRegistry_UnknownParticipant(bytes32 participant);
    error ParticipantRegistry_WrongStatus(bytes32 participant, ParticipantStatus status);
    error ParticipantRegistry_NotAllowed(bytes32 participant, address caller);
    error ParticipantRegistry_ZeroAuthority(bytes32 participant);
    error ParticipantRegistry_OwnParent(bytes32 participant);
    error ParticipantRegistry_NotLowest(bytes32 participant, uint256 below);
    error ParticipantRegistry_TooDeep(bytes32 participant, uint256 level, uint256 limit);
    error ParticipantRegistry_ShareOutAboveWhole(bytes32 platform, uint16 maxShareOut);

    /// @notice Enrols `participant`; the role is the registrar's. The complement (~) of an enrolled id stands for that
    /// participant's suspense position, and cannot be enrolled. Neither can the ids of money that leaves the ledger (Clearing) and their complements.
    /// @param authority address that signs for it; zero for a participant that never signs.
    function enroll(bytes32 participant, address authority) external;

    /// @notice Enrols `participant` and records the registrar's attestation that it agreed to receive from
    /// `platform`, in one step.
    function enrollRecipient(bytes32 participant, bytes32 platform) external;

    /// @notice ACTIVE to SUSPENDED: it can neither receive nor author until resumed. Registrar only.
    function suspend(bytes32 participant) external;

    /// @notice SUSPENDED to ACTIVE. Registrar only.
    function resume(bytes32 participant) external;

    /// @notice To CLOSED, from which there is no way back. Registrar only.
    function close(bytes32 participant) external;

    /// @notice Names who gets what waits for a CLOSED participant, and later also another one. Guardians only.
    function nameHeir(bytes32 participant, bytes32 heir) external;

    /// @notice Who gets what waits for a participant: itself, or for a CLOSED one its named heir, zero while there is none.
    function heirOf(bytes32 participant) external view returns (bytes32);

    /// @notice Freezes a participant: its positions cannot be debited, and as a platform its instructions are refused. It may
    /// still be credited. Or undoes that, for which it takes another account than the one that froze. Guardians only.
    /// `reason` is an ASCII name, left aligned.
    function setFrozen(bytes32 participant, bool frozen, bytes32 reason) external;

    /// @notice Whether a participant is frozen; of zero, whether any is.
    function isFrozen(bytes32 participant) external view returns (bool);

    /// @notice How many participants are frozen.
    function frozenCount() external view returns (uint256);

    /// @notice Who froze a participant, and why; zero when it is not frozen.
    function freezeOf(bytes32 participant) external view returns (address guardian, bytes32 reason);

    /// @notice Replaces the signing address. The present authority may do it itself; otherwise the registrar.
    function rotateAuthority(bytes32 participant, address next) external;

    /// @notice Grants or revokes consent. The recipient's own authority may do it; otherwise the registrar attests.
    function setConsent(bytes32 recipient, bytes32 platform, bool granted) external;

    /// @notice Puts `participant` directly below `parent`, in a tree of at most four levels (platform's merchants, their
    /// sub-merchants, suppliers and so on). Zero takes it to the top, level 1. Only one with nobody below it can be
    /// moved. Places move no money: they say whose positions are added up with whose. Registrar only.
    function place(bytes32 participant, bytes32 parent) external;

    /// @notice Who stands directly above, zero for nobody; the level from the top, 1 to 4; how many directly below.
    function placeOf(bytes32 participant) external view returns (bytes32 parent, uint256 level, uint256 below);

    /// @notice The level from the top, 1 to 4. One that was never placed is on level 1.
    function levelOf(bytes32 participant) external view returns (uint256);
    /// @notice Caps what splits of a platform's orders may give to others than the order's merchant, in basis points of what
    /// was captured; 0 lifts the cap. It holds for splits from now on, also of orders captured before. The role is the
    /// guardian's.
    function setMaxShareOut(bytes32 platform, uint16 maxShareOut) external;

    /// @notice Status and signing address of a participant (UNKNOWN and zero when never enrolled).
    function participantOf(bytes32 participant) external view returns (ParticipantStatus status, address authority);

    /// @notice What a platform's instructions are judged by: status, signing address, and cap in basis points (0 for none).
    function platformOf(bytes32 platform)
        external
        view
        returns (ParticipantStatus status, address authority, uint16 maxShareOut);

    /// @notice Whether an authority that is a contract account (ERC-1271) takes a signature. SplitLedger asks with 200,000 gas
    /// for this call.
    function isWalletSignature(address wallet, bytes32 digest, bytes calldata signature) external view returns (bool);

    /// @notice Whether `recipient` agreed to receive from `platform`. A platform always agrees to itself.
    function hasConsent(bytes32 recipient, bytes32 platform) external view returns (bool);

    /// @notice Both answers a split needs about a recipient, in one call.
    function standing(bytes32 recipient, bytes32 platform)
        external
        view
        returns (ParticipantStatus status, bool consented);
}
