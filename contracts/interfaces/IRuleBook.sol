// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ISchedules, RuleState} from "./ISchedules.sol";

/// @notice How a leg takes its amount from its pool; the arithmetic is in libraries/Allocator.sol.
enum LegKind {
    FIXED,
    SHARE,
    REMAINDER,
    GIVEN
}

/// @notice One leg of a rule version. `parent` is the index of an earlier leg, or -1 for the root pool.
/// A leaf (a leg without children) has either a fixed `recipient` or a `role`; an inner leg has neither.
/// Amounts (`value` of FIXED, `min`, `max`) are minor units; `value` of SHARE is basis points of the pool, of GIVEN the
/// most that the split may give it, likewise in basis points; `max` 0 means no cap. `role` is an ASCII name, left aligned.
struct Leg {
    int8 parent;
    LegKind kind;
    uint96 value;
    uint96 min;
    uint96 max;
    bytes32 recipient;
    bytes32 role;
}

/// @notice What else a version says about the orders that are split by it; immutable like its legs.
/// `maxShareOut`: basis points of an order's captured amount that splits may give to others than its merchant; 0 means
/// no cap. `mayOwe`: a return or refund may make a recipient's position negative. `park`: shares of recipients that are not
/// active any more wait in suspense positions.
struct RuleTerms {
    uint16 maxShareOut;
    bool mayOwe;
    bool park;
}

/// @notice What a platform signs to propose a rule version.
struct RuleProposal {
    bytes32 platform;
    bytes32 ruleId;
    uint32 version;
    uint64 effectiveFrom;
    Leg[] legs;
    RuleTerms terms;
}

/// @title Split rules as immutable, approved versions
/// @notice A platform proposes a version under its own signature, another party approves exactly that content,
/// and from `effectiveFrom` it is in force until a later version is, or the rule is retired. The legs of a version are
/// stored as contract code, which nothing can change.
///
/// A rule belongs to its platform: the same `ruleId` under another platform is another rule.
///
/// Two things stand between an approval and its effect. The consortium may set an approval lock: a version is approved at
/// least so many seconds before it takes effect. Until it does, a guardian may veto it. A vetoed version is never used.
///
/// Warning: at most one version of a rule is in force at a moment. A capture signed for version N that is mined after
/// N + 1 came into force is rejected.
interface IRuleBook is ISchedules {
    /// @notice A version was proposed. `contentHash` is the EIP-712 struct hash of the proposal.
    event RuleProposed(
        bytes32 indexed platform,
        bytes32 indexed ruleId,
        uint32 indexed version,
        uint64 effectiveFrom,
        bytes32 contentHash,
        Leg[] legs,
        RuleTerms terms
    );
    /// @notice A version was approved by `approver`.
    event RuleApproved(
        bytes32 indexed platform, bytes32 indexed ruleId, uint32 indexed version, bytes32 contentHash, address approver
    );
    /// @notice A version was vetoed by `guardian`, for ever. `reasonCode` is what it gave as its reason.
    event RuleVetoed(
        bytes32 indexed platform,
        bytes32 indexed ruleId,
        uint32 indexed version,
        bytes32 contentHash,
        address guardian,
        bytes32 reasonCode
    );
    /// @notice From now on, a version is approved at least `lock` seconds before it takes effect.
    event ApprovalLockChanged(uint64 lock);
    /// @notice A rule takes no further orders. Orders captured before are split by it as ever.
    event RuleRetired(bytes32 indexed platform, bytes32 indexed ruleId);

    error RuleBook_PlatformNotActive(bytes32 platform);
    error RuleBook_InvalidSignature(bytes32 platform);
    error RuleBook_VersionNotNext(bytes32 ruleId, uint32 version, uint32 expected);
    error RuleBook_EffectiveBeforePrevious(bytes32 ruleId, uint64 effectiveFrom, uint64 previous);
    error RuleBook_UnknownVersion(bytes32 ruleId, uint32 version);
    error RuleBook_AlreadyApproved(bytes32 ruleId, uint32 version);
    error RuleBook_ContentMismatch(bytes32 ruleId, uint32 version, bytes32 contentHash);
    error RuleBook_ApproverIsAuthority(address approver);
    error RuleBook_ApprovalNotDirect(address caller);
    error RuleBook_AlreadyRetired(bytes32 ruleId);
    error RuleBook_ShareOutAboveWhole(uint16 maxShareOut);
    error RuleBook_EffectiveWithinLock(bytes32 ruleId, uint32 version, uint64 effectiveFrom, uint256 earliest);
    error RuleBook_VetoNotDirect(address caller);
    error RuleBook_AlreadyVetoed(bytes32 ruleId, uint32 version);
    error RuleBook_AlreadyEffective(bytes32 ruleId, uint32 version, uint64 effectiveFrom);

    error RuleTree_LegCount(uint256 count);
    error RuleTree_LeafCount(uint256 count);
    error RuleTree_Parent(uint256 leg, int256 parent);
    error RuleTree_Depth(uint256 leg, uint256 depth);
    error RuleTree_Value(uint256 leg, uint256 value);
    error RuleTree_Bounds(uint256 leg, uint256 min, uint256 max);
    error RuleTree_RemainderNotLast(uint256 leg);
    error RuleTree_NoRemainder(int256 parent);
    error RuleTree_RecipientOrRole(uint256 leg);

    /// @notice Records a proposed version. Anyone may relay it; the signature is the platform authority's (ECDSA or
    /// ERC-1271) over the EIP-712 struct RuleProposal. Versions count up from 1, and none takes effect before the last one
    /// that was not vetoed.
    function propose(RuleProposal calldata proposal, bytes calldata signature) external;

    /// @notice Approves a version; the role is the rule approver's. The approver calls directly (not through
    /// AccessManager.execute, which hides who approves; one with an execution delay schedules and then calls here). It is
    /// neither the platform's authority now nor the authority that signed the proposal. While there is an approval lock,
    /// `effectiveFrom` is at least so far away (RuleBook_EffectiveWithinLock names the earliest that would do).
    /// @param contentHash what the approver read, so that it cannot approve anything else.
    function approve(bytes32 platform, bytes32 ruleId, uint32 version, bytes32 contentHash) external;

    /// @notice Vetoes a version that is not in force yet: one that is not approved, or approved and not effective. The role is
    /// the guardian's, who calls directly.
    /// @param contentHash what the guardian read.
    /// @param reasonCode why, as a short ASCII text, left aligned.
    function veto(bytes32 platform, bytes32 ruleId, uint32 version, bytes32 contentHash, bytes32 reasonCode) external;

    /// @notice Sets the least number of seconds between approval and effect; 0 for none. Administration only. Versions that
    /// are approved already stay as they are.
    function setApprovalLock(uint64 lock) external;

    /// @notice Retires a rule for new orders, for ever. The signature is the platform authority's over
    /// RuleRetirement(platform, ruleId); anyone may relay it.
    function retire(bytes32 platform, bytes32 ruleId, bytes calldata signature) external;

    /// @notice State now, legs, role names (in order of first use) and terms of a version, and whether the platform has a
    /// schedule in force, which then says of which orders the rule is. Bindings follow `roles`. UNKNOWN comes with empty
    /// arrays, terms of zero and false. SCHEDULE is no rule, and so UNKNOWN.
    function load(bytes32 platform, bytes32 ruleId, uint32 version)
        external
        view
        returns (
            RuleState state,
            Leg[] memory legs,
            bytes32[] memory roles,
            RuleTerms memory terms,
            bool scheduled
        );

    /// @notice Least number of seconds between the approval of a version and its effect.
    function approvalLock() external view returns (uint64);

    /// @notice Highest proposed version of a rule, and whether the rule is retired. 0 when there is none.
    function latest(bytes32 platform, bytes32 ruleId) external view returns (uint32 version, bool retired);

    /// @notice Header of a version: its content hash, effective time (Unix seconds), approval (a veto takes it away), and
    /// the authority that signed its proposal.
    function header(bytes32 platform, bytes32 ruleId, uint32 version)
        external
        view
        returns (bytes32 contentHash, uint64 effectiveFrom, bool approved, address proposer);

    /// @notice Dry run of the allocation arithmetic on any legs, validated or not.
    /// @param given amount of each GIVEN leg, in leg order.
    /// @return leaves amount per leaf in leg order; empty when the split would be rejected.
    /// @return reason why it would be, as SplitLedger records it; empty when it would not.
    function quote(Leg[] calldata legs, uint96 amount, uint96[] calldata given)
        external
        pure
        returns (uint256[] memory leaves, bytes memory reason);
}
