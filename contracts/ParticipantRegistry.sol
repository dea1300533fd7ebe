// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {IAccessManager} from "@openzeppelin/contracts/access/manager/IAccessManager.sol";
import {IParticipantRegistry, ParticipantStatus} from "./interfaces/IParticipantRegistry.sol";
import {Clearing} from "./libraries/Clearing.sol";
import {Freezes} from "./libraries/Freezes.sol";

/// @title Participants, authorities and consent
/// @notice See IParticipantRegistry.
contract ParticipantRegistry is IParticipantRegistry, AccessManaged {
    /// @dev `home` is the number of the platform for which a recipient was enrolled, while it consents to it; 0 for none. It
    /// stands beside the status, so that most recipients are looked up in one slot; so does what a platform may share out.
    struct Participant {
        address authority;
        ParticipantStatus status;
        uint64 home;
        uint16 maxShareOut;
        bool frozen;
    }

    /// @dev `level` is 0 for a participant that was never placed, which then stands on level 1 with nobody above.
    struct Place {
        uint8 level;
        uint64 below;
        bytes32 parent;
    }

    uint256 private constant MAX_LEVEL = 4;
    uint256 private constant BASIS_POINTS = 10_000;

    mapping(bytes32 participant => Participant) private _participants;
    mapping(bytes32 recipient => mapping(bytes32 platform => bool)) private _consents;
    /// @dev Of platforms for which recipients were enrolled, counting from 1.
    mapping(bytes32 platform => uint64 number) private _numbers;
    uint64 private _lastNumber;
    mapping(bytes32 participant => Freezes.Freeze) private _freezes;
    uint256 public frozenCount;
    mapping(bytes32 participant => Place) private _places;
    mapping(bytes32 participant => bytes32 heir) private _heirs;

    constructor(address accessManager) AccessManaged(accessManager) {}

    /// @inheritdoc IParticipantRegistry
    function enroll(bytes32 participant, address authority_) external restricted {
        _enroll(participant, authority_);
    }

    /// @inheritdoc IParticipantRegistry
    function enrollRecipient(bytes32 participant, bytes32 platform) external restricted {
        _known(platform);
        _enroll(participant, address(0));
        if (_numbers[platform] == 0) _numbers[platform] = ++_lastNumber;
        _participants[participant].home = _numbers[platform];
        emit ConsentChanged(participant, platform, true);
    }

    /// @inheritdoc IParticipantRegistry
    function suspend(bytes32 participant) external restricted {
        _move(participant, ParticipantStatus.ACTIVE, ParticipantStatus.SUSPENDED);
    }

    /// @inheritdoc IParticipantRegistry
    function resume(bytes32 participant) external restricted {
        _move(participant, ParticipantStatus.SUSPENDED, ParticipantStatus.ACTIVE);
    }

    /// @inheritdoc IParticipantRegistry
    function close(bytes32 participant) external restricted {
        Participant storage p = _known(participant);
        if (p.status == ParticipantStatus.CLOSED) {
            revert ParticipantRegistry_WrongStatus(participant, p.status);
        }
        p.status = ParticipantStatus.CLOSED;
        emit ParticipantStatusChanged(participant, ParticipantStatus.CLOSED);
    }

    /// @inheritdoc IParticipantRegistry
    function nameHeir(bytes32 participant, bytes32 heir) external restricted {
        Participant storage p = _known(participant);
        _known(heir);
        if (p.status != ParticipantStatus.CLOSED) {
            revert ParticipantRegistry_WrongStatus(participant, p.status);
        }
        if (heir == participant) revert ParticipantRegistry_OwnHeir(participant);
        _heirs[participant] = heir;
        emit HeirNamed(participant, heir, msg.sender);
    }

    /// @inheritdoc IParticipantRegistry
    function heirOf(bytes32 participant) external view returns (bytes32) {
        ParticipantStatus status = _participants[participant].status;
        if (status == ParticipantStatus.UNKNOWN) return bytes32(0);
        return status == ParticipantStatus.CLOSED ? _heirs[participant] : participant;
    }

    /// @inheritdoc IParticipantRegistry
    function setFrozen(bytes32 participant, bool frozen, bytes32 reason) external restricted {
        Participant storage p = _known(participant);
        Freezes.change(_freezes[participant], frozen, reason);
        p.frozen = frozen;
        if (frozen) ++frozenCount;
        else --frozenCount;
        emit ParticipantFreezeChanged(participant, msg.sender, frozen, reason);
    }

    /// @inheritdoc IParticipantRegistry
    function isFrozen(bytes32 participant) external view returns (bool) {
        return participant == bytes32(0) ? frozenCount != 0 : _participants[participant].frozen;
    }

    /// @inheritdoc IParticipantRegistry
    function freezeOf(bytes32 participant) external view returns (address guardian, bytes32 reason) {
        Freezes.Freeze storage found = _freezes[participant];
        return (found.guardian, found.reason);
    }

    /// @inheritdoc IParticipantRegistry
    function rotateAuthority(bytes32 participant, address next) external {
        Participant storage p = _known(participant);
        _requireAuthorityOrRegistrar(participant, p.authority);
        if (next == address(0)) revert ParticipantRegistry_ZeroAuthority(participant);
        emit AuthorityRotated(participant, p.authority, next);
        p.authority = next;
    }

    /// @inheritdoc IParticipantRegistry
    function setConsent(bytes32 recipient, bytes32 platform, bool granted) external {
        Participant storage p = _known(recipient);
        _known(platform);
        _requireAuthorityOrRegistrar(recipient, p.authority);
        _consents[recipient][platform] = granted;
        if (!granted && _isHome(p.home, platform)) p.home = 0;
        emit ConsentChanged(recipient, platform, granted);
    }

    /// @inheritdoc IParticipantRegistry
    function place(bytes32 participant, bytes32 parent) external restricted {
        // check
        _known(participant);
        Place storage p = _places[participant];
        if (p.below != 0) revert ParticipantRegistry_NotLowest(participant, p.below);
        if (parent == participant) revert ParticipantRegistry_OwnParent(participant);
        uint256 level = 1;
        if (parent != bytes32(0)) {
            _known(parent);
            level = levelOf(parent) + 1;
            if (level > MAX_LEVEL) revert ParticipantRegistry_TooDeep(participant, level, MAX_LEVEL);
        }
        // effect
        if (p.parent != bytes32(0)) --_places[p.parent].below;
        if (parent != bytes32(0)) ++_places[parent].below;
        p.parent = parent;
        p.level = uint8(level);
        emit ParticipantPlaced(participant, parent, uint8(level));
    }

    /// @inheritdoc IParticipantRegistry
    function placeOf(bytes32 participant) external view returns (bytes32 parent, uint256 level, uint256 below) {
        Place storage p = _places[participant];
        return (p.parent, levelOf(participant), p.below);
    }

    /// @inheritdoc IParticipantRegistry
    function setMaxShareOut(bytes32 platform, uint16 maxShareOut) external restricted {
        Participant storage p = _known(platform);
        if (maxShareOut > BASIS_POINTS) revert ParticipantRegistry_ShareOutAboveWhole(platform, maxShareOut);
        p.maxShareOut = maxShareOut;
        emit MaxShareOutChanged(platform, maxShareOut);
    }

    /// @inheritdoc IParticipantRegistry
    function participantOf(bytes32 participant) external view returns (ParticipantStatus status, address authority_) {
        Participant storage p = _participants[participant];
        return (p.status, p.authority);
    }

    /// @inheritdoc IParticipantRegistry
    function platformOf(bytes32 platform)
        external
        view
        returns (ParticipantStatus status, address authority_, uint16 maxShareOut)
    {
        Participant storage p = _participants[platform];
        return (p.status, p.authority, p.maxShareOut);
    }

    /// @inheritdoc IParticipantRegistry
    function isWalletSignature(address wallet, bytes32 digest, bytes calldata signature) external view returns (bool) {
        return SignatureChecker.isValidERC1271SignatureNowCalldata(wallet, digest, signature);
    }

    /// @inheritdoc IParticipantRegistry
    function hasConsent(bytes32 recipient, bytes32 platform) external view returns (bool) {
        return _consented(recipient, platform, _participants[recipient].home);
    }

    /// @inheritdoc IParticipantRegistry
    function standing(bytes32 recipient, bytes32 platform)
        external
        view
        returns (ParticipantStatus status, bool consented)
    {
        Participant storage p = _participants[recipient];
        return (p.status, _consented(recipient, platform, p.home));
    }

    /// @inheritdoc IParticipantRegistry
    function levelOf(bytes32 participant) public view returns (uint256) {
        uint256 level = _places[participant].level;
        return level == 0 ? 1 : level;
    }

    function _consented(bytes32 recipient, bytes32 platform, uint64 home) private view returns (bool) {
        return recipient == platform || _isHome(home, platform) || _consents[recipient][platform];
    }

    function _isHome(uint64 home, bytes32 platform) private view returns (bool) {
        return home != 0 && home == _numbers[platform];
    }

    function _enroll(bytes32 participant, address authority_) private {
        if (participant == bytes32(0)) revert ParticipantRegistry_ZeroParticipant();
        Participant storage p = _participants[participant];
        if (p.status != ParticipantStatus.UNKNOWN) revert ParticipantRegistry_AlreadyEnrolled(participant);
        if (_participants[~participant].status != ParticipantStatus.UNKNOWN) {
            revert ParticipantRegistry_SuspenseId(participant);
        }
        if (Clearing.isReserved(participant)) revert ParticipantRegistry_ReservedId(participant);
        p.authority = authority_;
        p.status = ParticipantStatus.ACTIVE;
        emit ParticipantEnrolled(participant, authority_);
    }

    function _move(bytes32 participant, ParticipantStatus from, ParticipantStatus to) private {
        Participant storage p = _known(participant);
        if (p.status != from) revert ParticipantRegistry_WrongStatus(participant, p.status);
        p.status = to;
        emit ParticipantStatusChanged(participant, to);
    }

    function _known(bytes32 participant) private view returns (Participant storage p) {
        p = _participants[participant];
        if (p.status == ParticipantStatus.UNKNOWN) revert ParticipantRegistry_UnknownParticipant(participant);
    }

    /// @dev A party may act for itself at once; the registrar acts through the AccessManager, with its delays.
    function _requireAuthorityOrRegistrar(bytes32 participant, address current) private {
        if (msg.sender == current) return;
        (bool immediate, uint32 delay) = IAccessManager(authority()).canCall(msg.sender, address(this), msg.sig);
        if (!immediate && delay == 0) revert ParticipantRegistry_NotAllowed(participant, msg.sender);
        _checkCanCall(msg.sender, msg.data);
    }
}
