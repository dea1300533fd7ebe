// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice Whether a version of a rule may be used for an order captured now; of a schedule, whether it selects its rule.
enum RuleState {
    UNKNOWN,
    PROPOSED,
    NOT_EFFECTIVE,
    IN_FORCE,
    SUPERSEDED,
    RETIRED,
    VETOED
}

/// @notice One entry of a schedule: the orders of which `ruleId` is the rule. What it states are up to seven criteria, and
/// an order matches if it meets all of them:
/// `facts`: codes of 8 bytes for promotion, category, member tier and channel, in this order; a code of zero states nothing;
/// `currency`: zero states nothing;
/// the amount is at least `amountFrom` and below `amountBelow` (0: no upper end), minor units; both zero state nothing;
/// the time of capture is not before `validFrom` and before `validUntil` (0: no end), Unix seconds; both zero state nothing.
struct ScheduleEntry {
    bytes32 facts;
    bytes3 currency;
    uint96 amountFrom;
    uint96 amountBelow;
    uint64 validFrom;
    uint64 validUntil;
    bytes32 ruleId;
}

/// @notice What a platform signs to propose a version of its schedule.
struct ScheduleProposal {
    bytes32 platform;
    uint32 version;
    uint64 effectiveFrom;
    ScheduleEntry[] entries;
}

/// @title Schedules: which of a platform's rules applies to an order
/// @notice A platform has at most one schedule, in versions that are proposed, approved, vetoed and retired as those of a
/// rule are, with the same functions and events: a schedule stands under the reserved `ruleId` SCHEDULE, the ASCII text
/// "schedule", left aligned. While a version is in force, every order of the platform is captured by the rule that it selects,
/// and by no other.
///
/// Precedence is total. An entry that states more criteria stands before one that states fewer; of two that state equally
/// many, the one with the weightier first criterion in which they differ: promotion, category, member tier, channel,
/// currency, amount, time. Two entries that state the same criteria never match the same order: they name another code or
/// currency, or amounts or times that do not overlap. Entries are listed in this order, the first that matches is selected,
/// and the last one states nothing, so that one always is.
///
/// Warning: time is that of the block. A capture that was signed before an entry or a version begins to apply and is mined
/// afterwards is rejected, unless the same rule is selected.
interface ISchedules {
    /// @notice A version of a platform's schedule was proposed. `contentHash` is the EIP-712 struct hash of the proposal.
    event ScheduleProposed(
        bytes32 indexed platform,
        uint32 indexed version,
        uint64 effectiveFrom,
        bytes32 contentHash,
        ScheduleEntry[] entries
    );

    error RuleBook_ReservedRuleId(bytes32 ruleId);

    error Schedule_EntryCount(uint256 count);
    error Schedule_Facts(uint256 entry, bytes32 facts);
    error Schedule_Amounts(uint256 entry, uint256 from, uint256 below);
    error Schedule_Times(uint256 entry, uint256 from, uint256 until);
    error Schedule_Rule(uint256 entry, bytes32 ruleId);
    error Schedule_Precedence(uint256 entry);
    error Schedule_Overlap(uint256 entry, uint256 earlier);
    error Schedule_LastStatesSomething(uint256 entry);

    /// @notice Records a proposed version of the platform's schedule, as `propose` does for a rule: 1 to 64 entries in order of
    /// precedence. Codes are ASCII, left aligned. The rules that entries name need not be there yet.
    function proposeSchedule(ScheduleProposal calldata proposal, bytes calldata signature) external;

    /// @notice State now and entries of a version of the platform's schedule. UNKNOWN comes without entries.
    function loadSchedule(bytes32 platform, uint32 version)
        external
        view
        returns (RuleState state, ScheduleEntry[] memory entries);

    /// @notice Which rule an order captured now would be of: the version of the schedule that is in force, the entry of it
    /// that is selected, counted from 0, and its rule. `version` is 0 when no schedule is in force; then any rule does.
    function select(bytes32 platform, bytes32 facts, bytes3 currency, uint96 amount)
        external
        view
        returns (uint32 version, uint256 entry, bytes32 ruleId);
}
