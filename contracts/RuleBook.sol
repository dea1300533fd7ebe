// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {IParticipantRegistry, ParticipantStatus} from "./interfaces/IParticipantRegistry.sol";
import {IRuleBook, Leg, RuleProposal, RuleState, RuleTerms} from "./interfaces/IRuleBook.sol";
import {ISchedules, ScheduleEntry, ScheduleProposal} from "./interfaces/ISchedules.sol";
import {ISplitLedger} from "./interfaces/ISplitLedger.sol";
import {Allocator} from "./libraries/Allocator.sol";
import {CodeStore} from "./libraries/CodeStore.sol";
import {RuleTree} from "./libraries/RuleTree.sol";
import {Schedules} from "./libraries/Schedules.sol";
import {Words} from "./libraries/Words.sol";

/// @title Versions of rules and schedules
/// @notice See IRuleBook and ISchedules.
contract RuleBook is IRuleBook, AccessManaged, EIP712 {
    bytes32 private constant LEG_TYPEHASH = keccak256(
        "Leg(int8 parent,uint8 kind,uint96 value,uint96 min,uint96 max,bytes32 recipient,bytes32 role)"
    );
    bytes32 private constant PROPOSAL_TYPEHASH = keccak256(
        "RuleProposal(bytes32 platform,bytes32 ruleId,uint32 version,uint64 effectiveFrom,Leg[] legs,RuleTerms terms)"
        "Leg(int8 parent,uint8 kind,uint96 value,uint96 min,uint96 max,bytes32 recipient,bytes32 role)"
        "RuleTerms(uint16 maxShareOut,bool mayOwe,bool park)"
    );
    bytes32 private constant TERMS_TYPEHASH = keccak256("RuleTerms(uint16 maxShareOut,bool mayOwe,bool park)");
    bytes32 private constant RETIREMENT_TYPEHASH = keccak256("RuleRetirement(bytes32 platform,bytes32 ruleId)");

    /// @dev `content` is the address of a code blob holding abi.encode(Leg[], bytes32[] roles), or of a schedule its packed
    /// entries. `proposer` is the authority that signed the proposal. `olderApproved` links approved versions, newest first;
    /// 0 ends the list. `maxShareOut`, `mayOwe` and `park` are the terms.
    struct Version {
        bytes32 contentHash;
        address content;
        uint64 effectiveFrom;
        bool approved;
        uint16 maxShareOut;
        bool mayOwe;
        address proposer;
        uint32 olderApproved;
        bool vetoed;
        bool park;
    }

    struct Rule {
        uint32 latest;
        bool retired;
        uint32 newestApproved;
        mapping(uint32 version => Version) versions;
    }

    IParticipantRegistry public immutable registry;
    mapping(bytes32 platform => mapping(bytes32 ruleId => Rule)) private _rules;
    uint64 public approvalLock;

    constructor(address accessManager, IParticipantRegistry registry_)
        AccessManaged(accessManager)
        EIP712("fenzhang RuleBook", "1")
    {
        registry = registry_;
    }

    /// @inheritdoc IRuleBook
    function propose(RuleProposal calldata proposal, bytes calldata signature) external {
        if (proposal.ruleId == Schedules.SCHEDULE) revert RuleBook_ReservedRuleId(proposal.ruleId);
        bytes32 contentHash = _hash(proposal);
        Version storage version = _add(
            proposal.platform, proposal.ruleId, proposal.version, proposal.effectiveFrom, contentHash, signature
        );
        Leg[] memory legs = proposal.legs;
        RuleTree.validate(legs);
        RuleTerms calldata terms = proposal.terms;
        if (terms.maxShareOut > Allocator.BASIS_POINTS) revert RuleBook_ShareOutAboveWhole(terms.maxShareOut);
        version.maxShareOut = terms.maxShareOut;
        version.mayOwe = terms.mayOwe;
        version.park = terms.park;
        version.content = CodeStore.write(abi.encode(legs, RuleTree.rolesOf(legs)));
        emit RuleProposed(
            proposal.platform, proposal.ruleId, proposal.version, proposal.effectiveFrom, contentHash, legs, terms
        );
    }

    /// @inheritdoc ISchedules
    function proposeSchedule(ScheduleProposal calldata proposal, bytes calldata signature) external {
        bytes32 contentHash = Schedules.hash(proposal);
        Version storage version = _add(
            proposal.platform, Schedules.SCHEDULE, proposal.version, proposal.effectiveFrom, contentHash, signature
        );
        ScheduleEntry[] memory entries = proposal.entries;
        Schedules.validate(entries);
        version.content = CodeStore.write(Schedules.pack(entries));
        emit ScheduleProposed(
            proposal.platform, proposal.version, proposal.effectiveFrom, contentHash, entries
        );
    }

    /// @inheritdoc IRuleBook
    function approve(bytes32 platform, bytes32 ruleId, uint32 version, bytes32 contentHash) external restricted {
        // check
        // What the AccessManager carries out has the manager as its sender, and hides who approves.
        if (msg.sender == authority()) revert RuleBook_ApprovalNotDirect(msg.sender);
        Rule storage rule = _rules[platform][ruleId];
        Version storage v = rule.versions[version];
        _checkContent(v, ruleId, version, contentHash);
        if (v.approved) revert RuleBook_AlreadyApproved(ruleId, version);
        uint256 earliest = block.timestamp + approvalLock;
        if (approvalLock != 0 && v.effectiveFrom < earliest) {
            revert RuleBook_EffectiveWithinLock(ruleId, version, v.effectiveFrom, earliest);
        }
        (, address authority_) = registry.participantOf(platform);
        if (msg.sender == authority_ || msg.sender == v.proposer) revert RuleBook_ApproverIsAuthority(msg.sender);
        // effect
        v.approved = true;
        _link(rule, v, version);
        emit RuleApproved(platform, ruleId, version, contentHash, msg.sender);
    }

    /// @inheritdoc IRuleBook
    function veto(bytes32 platform, bytes32 ruleId, uint32 version, bytes32 contentHash, bytes32 reasonCode)
        external
        restricted
    {
        // check
        if (msg.sender == authority()) revert RuleBook_VetoNotDirect(msg.sender); // likewise
        Rule storage rule = _rules[platform][ruleId];
        Version storage v = rule.versions[version];
        _checkContent(v, ruleId, version, contentHash);
        if (v.approved && v.effectiveFrom <= block.timestamp) {
            revert RuleBook_AlreadyEffective(ruleId, version, v.effectiveFrom);
        }
        // effect
        if (v.approved) _unlink(rule, v, version);
        v.approved = false;
        v.vetoed = true;
        emit RuleVetoed(platform, ruleId, version, contentHash, msg.sender, reasonCode);
    }

    /// @inheritdoc IRuleBook
    function setApprovalLock(uint64 lock) external restricted {
        approvalLock = lock;
        emit ApprovalLockChanged(lock);
    }

    /// @inheritdoc IRuleBook
    function retire(bytes32 platform, bytes32 ruleId, bytes calldata signature) external {
        address authority_ = _activeAuthority(platform);
        bytes32 digest = _hashTypedDataV4(keccak256(abi.encode(RETIREMENT_TYPEHASH, platform, ruleId)));
        if (!SignatureChecker.isValidSignatureNowCalldata(authority_, digest, signature)) {
            revert RuleBook_InvalidSignature(platform);
        }
        Rule storage rule = _rules[platform][ruleId];
        if (rule.latest == 0) revert RuleBook_UnknownVersion(ruleId, 0);
        if (rule.retired) revert RuleBook_AlreadyRetired(ruleId);
        rule.retired = true;
        emit RuleRetired(platform, ruleId);
    }

    /// @inheritdoc IRuleBook
    function load(bytes32 platform, bytes32 ruleId, uint32 version)
        external
        view
        returns (
            RuleState state,
            Leg[] memory legs,
            bytes32[] memory roles,
            RuleTerms memory terms,
            bool scheduled
        )
    {
        Rule storage rule = _rules[platform][ruleId];
        Version storage v = rule.versions[version];
        address blob = v.content;
        if (blob == address(0) || ruleId == Schedules.SCHEDULE) {
            return (RuleState.UNKNOWN, legs, roles, terms, scheduled);
        }
        (legs, roles) = abi.decode(CodeStore.read(blob), (Leg[], bytes32[]));
        terms = RuleTerms(v.maxShareOut, v.mayOwe, v.park);
        state = _stateOf(rule, version);
        scheduled = _inForce(_rules[platform][Schedules.SCHEDULE]) != 0;
    }

    /// @inheritdoc ISchedules
    function select(bytes32 platform, bytes32 facts, bytes3 currency, uint96 amount)
        external
        view
        returns (uint32 version, uint256 entry, bytes32 ruleId)
    {
        Rule storage schedule = _rules[platform][Schedules.SCHEDULE];
        version = _inForce(schedule);
        if (version != 0) {
            bytes memory entries = CodeStore.read(schedule.versions[version].content);
            (entry, ruleId) = Schedules.find(entries, facts, currency, amount);
        }
    }

    /// @inheritdoc ISchedules
    function loadSchedule(bytes32 platform, uint32 version)
        external
        view
        returns (RuleState state, ScheduleEntry[] memory entries)
    {
        Rule storage schedule = _rules[platform][Schedules.SCHEDULE];
        address blob = schedule.versions[version].content;
        if (blob == address(0)) return (RuleState.UNKNOWN, entries);
        entries = Schedules.unpack(CodeStore.read(blob));
        state = _stateOf(schedule, version);
    }

    /// @inheritdoc IRuleBook
    function latest(bytes32 platform, bytes32 ruleId) external view returns (uint32 version, bool retired) {
        Rule storage rule = _rules[platform][ruleId];
        return (rule.latest, rule.retired);
    }

    /// @inheritdoc IRuleBook
    function header(bytes32 platform, bytes32 ruleId, uint32 version)
        external
        view
        returns (bytes32 contentHash, uint64 effectiveFrom, bool approved, address proposer)
    {
        Version storage v = _rules[platform][ruleId].versions[version];
        return (v.contentHash, v.effectiveFrom, v.approved, v.proposer);
    }

    /// @inheritdoc IRuleBook
    function quote(Leg[] calldata legs, uint96 amount, uint96[] calldata given)
        external
        pure
        returns (uint256[] memory leaves, bytes memory reason)
    {
        Leg[] memory tree = legs;
        uint256 inner = RuleTree.validateTree(tree);
        leaves = new uint256[](RuleTree.leafCount(tree));
        // It pays nobody: all leaves have payee 0, some word of memory.
        (uint256[] memory packed, uint256 expected) = Allocator.pack(tree, inner, leaves);
        if (given.length != expected) {
            reason = abi.encodeWithSelector(ISplitLedger.SplitLedger_GivenCount.selector, given.length, expected);
            return (new uint256[](0), reason);
        }
        Allocator.give(packed, given);
        uint256 list = Words.allocate(Allocator.words(packed.length));
        (uint256 failed, uint256 take, uint256 remaining) =
            Allocator.allocate(packed, amount, leaves.length, list, list);
        if (failed != Allocator.NONE) {
            return (new uint256[](0), Allocator.refusal(packed, failed, take, remaining));
        }
        for (uint256 k = 0; k < leaves.length; ++k) {
            leaves[k] = Allocator.amountAt(list, k);
        }
    }

    /// @dev Adds what the platform's authority signed as the next version of a rule, or of its schedule. The content is the
    /// caller's to check and to store.
    function _add(
        bytes32 platform,
        bytes32 ruleId,
        uint32 number,
        uint64 effectiveFrom,
        bytes32 contentHash,
        bytes calldata signature
    ) private returns (Version storage version) {
        // check
        address authority_ = _activeAuthority(platform);
        if (!SignatureChecker.isValidSignatureNowCalldata(authority_, _hashTypedDataV4(contentHash), signature)) {
            revert RuleBook_InvalidSignature(platform);
        }
        Rule storage rule = _rules[platform][ruleId];
        if (rule.retired) revert RuleBook_AlreadyRetired(ruleId);
        if (number != rule.latest + 1) revert RuleBook_VersionNotNext(ruleId, number, rule.latest + 1);
        uint64 previous = _effectiveTimeOfLast(rule);
        if (effectiveFrom < previous) {
            revert RuleBook_EffectiveBeforePrevious(ruleId, effectiveFrom, previous);
        }
        // effect
        rule.latest = number;
        version = rule.versions[number];
        version.contentHash = contentHash;
        version.effectiveFrom = effectiveFrom;
        version.proposer = authority_;
    }

    /// @dev What is approved or vetoed is there, not vetoed, and what was read.
    function _checkContent(Version storage v, bytes32 ruleId, uint32 version, bytes32 contentHash) private view {
        if (v.content == address(0)) revert RuleBook_UnknownVersion(ruleId, version);
        if (v.vetoed) revert RuleBook_AlreadyVetoed(ruleId, version);
        if (v.contentHash != contentHash) revert RuleBook_ContentMismatch(ruleId, version, contentHash);
    }

    /// @dev Of the newest version that was not vetoed. What was vetoed does not hold up what corrects it.
    function _effectiveTimeOfLast(Rule storage rule) private view returns (uint64) {
        uint32 version = rule.latest;
        while (rule.versions[version].vetoed) --version;
        return rule.versions[version].effectiveFrom;
    }

    /// @dev Puts an approved version in its place among the approved ones. Only the approver pays for the walk.
    function _link(Rule storage rule, Version storage v, uint32 version) private {
        uint32 newer;
        uint32 older = rule.newestApproved;
        while (older > version) {
            newer = older;
            older = rule.versions[older].olderApproved;
        }
        v.olderApproved = older;
        if (newer == 0) rule.newestApproved = version;
        else rule.versions[newer].olderApproved = version;
    }

    /// @dev Takes an approved version out again.
    function _unlink(Rule storage rule, Version storage v, uint32 version) private {
        uint32 newer = rule.newestApproved;
        if (newer == version) {
            rule.newestApproved = v.olderApproved;
            return;
        }
        while (rule.versions[newer].olderApproved != version) newer = rule.versions[newer].olderApproved;
        rule.versions[newer].olderApproved = v.olderApproved;
    }

    /// @dev In force: approved, effective, not retired, and no later approved version is effective.
    function _stateOf(Rule storage rule, uint32 version) private view returns (RuleState) {
        Version storage v = rule.versions[version];
        if (!v.approved) return v.vetoed ? RuleState.VETOED : RuleState.PROPOSED;
        if (rule.retired) return RuleState.RETIRED;
        if (v.effectiveFrom > block.timestamp) return RuleState.NOT_EFFECTIVE;
        return _inForce(rule) == version ? RuleState.IN_FORCE : RuleState.SUPERSEDED;
    }

    /// @dev The version in force, 0 for none. Effective times never decrease, so this passes only over approved versions that
    /// are not effective yet.
    function _inForce(Rule storage rule) private view returns (uint32 version) {
        if (rule.retired) return 0;
        version = rule.newestApproved;
        while (version != 0 && rule.versions[version].effectiveFrom > block.timestamp) {
            version = rule.versions[version].olderApproved;
        }
    }

    function _activeAuthority(bytes32 platform) private view returns (address authority_) {
        ParticipantStatus status;
        (status, authority_) = registry.participantOf(platform);
        if (status != ParticipantStatus.ACTIVE || authority_ == address(0)) {
            revert RuleBook_PlatformNotActive(platform);
        }
    }

    function _hash(RuleProposal calldata proposal) private pure returns (bytes32) {
        bytes32[] memory legs = new bytes32[](proposal.legs.length);
        for (uint256 i = 0; i < legs.length; ++i) {
            Leg calldata leg = proposal.legs[i];
            legs[i] = keccak256(
                abi.encode(LEG_TYPEHASH, leg.parent, leg.kind, leg.value, leg.min, leg.max, leg.recipient, leg.role)
            );
        }
        return keccak256(
            abi.encode(
                PROPOSAL_TYPEHASH,
                proposal.platform,
                proposal.ruleId,
                proposal.version,
                proposal.effectiveFrom,
                keccak256(abi.encodePacked(legs)),
                keccak256(abi.encode(TERMS_TYPEHASH, proposal.terms))
            )
        );
    }
}
