// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ILedgerView} from "./ILedgerView.sol";
import {IParticipantRegistry} from "./IParticipantRegistry.sol";
import {ISplitLedger} from "./ISplitLedger.sol";

/// @notice What the clearing bank signs to close a cycle.
/// `scheme` is the ASCII name of a settlement scheme, left aligned. `number` counts the cycles of a currency and scheme: 1, 2, 3 ...
/// `toBlock` is the last block whose records are members of the cycle, `atBlock` the block as of which positions were netted.
/// `payouts` is how many there are, `total` their sum in minor units, `payoutRoot` the root over them; all three are
/// zero in a cycle that pays nothing. `billRoot` and `journalHead` name the bills of the cycle and the state of the books.
/// The closing may be relayed until `deadline` (Unix seconds).
struct Cycle {
    bytes3 currency;
    bytes32 scheme;
    uint32 number;
    uint64 toBlock;
    uint64 atBlock;
    uint32 payouts;
    uint128 total;
    bytes32 payoutRoot;
    bytes32 billRoot;
    bytes32 journalHead;
    uint64 deadline;
}

/// @notice One payout of a cycle: its place in the cycle, from 0, whom it is for, and how much in minor units.
struct Payout {
    uint32 index;
    bytes32 participant;
    uint96 amount;
}

/// @notice IN_TRANSIT: taken from the position and on its way. PAID: it reached the account. ENDED: refused, failed or returned; the
/// money is (again) in the position.
enum PayoutState {
    NONE,
    IN_TRANSIT,
    PAID,
    ENDED
}

enum OutcomeKind {
    PAID,
    FAILED,
    RETURNED
}

/// @notice What became of a payout. `reason` is the bank's code in ASCII, left aligned ("AC04"); zero for PAID.
struct Outcome {
    bytes32 payoutId;
    OutcomeKind kind;
    bytes32 reason;
}

/// @notice What is kept of a cycle. `taken` is the sum of the payouts that were taken so far.
struct CycleState {
    bytes32 payoutRoot;
    uint128 total;
    uint128 taken;
    bytes3 currency;
    uint32 number;
    uint32 payouts;
}

/// @title Cycles: how what is payable leaves the ledger
/// @notice The clearing bank signs a cycle, which fixes its payouts by a root. Each payout is then taken from its participant's
/// position, and the bank reports what became of it. Anyone may relay all of this. What holds, whoever calls:
/// 1. Authority: only an account that holds the role CLEARING_BANK closes cycles and reports outcomes, by its EIP-712 signature
/// (domain "fenzhang ClearingHouse", version "1"; ECDSA or ERC-1271).
/// 2. Exactly once: the cycles of a currency and scheme are numbered without gaps and cover blocks that ascend, so each is closed
/// once. Each payout is taken or refused once, and then has one way to go: NONE to IN_TRANSIT or ENDED, IN_TRANSIT to PAID or
/// ENDED, PAID to ENDED.
/// 3. Conservation: money only moves between positions, two of which belong to nobody: IN_TRANSIT and PAID of the library Clearing.
/// So, per currency, positions + in transit + paid + held + refunded = captured, and no more is paid than was captured. What a cycle
/// takes is never above its signed total.
/// 4. No debt: a payout never takes more than its participant's position has.
///
/// A cycle's id is keccak256(abi.encode(currency, scheme, number)). A payout's id, which is its leaf under `payoutRoot`, is
/// keccak256(keccak256(abi.encode(cycleId, index, participant, amount))); the tree is a StandardMerkleTree with leaves in the order
/// of their indices (not sorted).
///
/// Records, sealed in batches of the SplitLedger, orderId zero: CYCLE, its id the cycle's, amount the total, content the EIP-712 struct
/// hash of the Cycle. PAYOUT and PAYOUT_PAID, id the payout's, content keccak256(abi.encode(cycleId, currency, participant)). PAYOUT_FAILED
/// and PAYOUT_RETURNED, content keccak256(abi.encode(cycleId, currency, participant, reason)). REJECTION of a payout that was refused, id the
/// payout's, content keccak256(reason). RESOLUTION as ISplitLedger has it.
///
/// Warning: a root under which two payouts have one index is a lie of the bank that signed it. Only one of them can be taken; a report
/// about the other one moves the money of the first, by the bank's signature, and whoever has all events sees it.
interface IClearingHouse {
    /// @notice A cycle was closed; `bank` signed it.
    event CycleClosed(bytes32 indexed cycleId, Cycle cycle, address bank);
    /// @notice A payout was taken from its participant's position and is in transit.
    event PayoutTaken(
        bytes32 indexed cycleId, bytes32 indexed payoutId, uint32 index, bytes32 indexed participant, uint96 amount
    );
    /// @notice A payout was refused for good, and its money stays in the position. `reason` is the ABI encoding of
    /// SplitLedger_ParticipantFrozen, SplitLedger_RecipientNotActive (not enrolled, or SUSPENDED) or SplitLedger_InsufficientPosition.
    event PayoutRefused(
        bytes32 indexed cycleId,
        bytes32 indexed payoutId,
        uint32 index,
        bytes32 indexed participant,
        uint96 amount,
        bytes reason
    );
    /// @notice A payout in transit reached its account.
    event PayoutPaid(
        bytes32 indexed cycleId, bytes32 indexed payoutId, bytes32 indexed participant, uint96 amount
    );
    /// @notice A payout in transit did not reach its account: its money is in the position again.
    event PayoutFailed(
        bytes32 indexed cycleId, bytes32 indexed payoutId, bytes32 indexed participant, uint96 amount, bytes32 reason
    );
    /// @notice A payout that was paid came back: its money is in the position again.
    event PayoutReturned(
        bytes32 indexed cycleId, bytes32 indexed payoutId, bytes32 indexed participant, uint96 amount, bytes32 reason
    );
    /// @notice An outcome does not follow from the state that its payout is in, and changed nothing.
    event OutcomePassedOver(
        bytes32 indexed cycleId, bytes32 indexed payoutId, OutcomeKind kind, PayoutState state
    );
    /// @notice What had waited in the suspense position of a participant went to `heir`: itself, or who stands in for it.
    event SuspenseResolved(
        bytes3 indexed currency, bytes32 indexed participant, bytes32 indexed heir, uint96 amount
    );

    // What the bank signed
    error ClearingHouse_NotClearingBank(address bank);
    error ClearingHouse_InvalidSignature(address bank);
    error ClearingHouse_DeadlinePassed(uint64 deadline, uint256 timestamp);
    // Cycles
    error ClearingHouse_WrongNumber(uint32 number, uint256 expected);
    error ClearingHouse_BlockNotAbove(uint64 toBlock, uint64 previous);
    error ClearingHouse_BlockBefore(uint64 atBlock, uint64 toBlock);
    error ClearingHouse_BlockNotPast(uint64 atBlock, uint256 blockNumber);
    error ClearingHouse_InconsistentPayouts(uint32 payouts, uint128 total, bytes32 payoutRoot);
    error ClearingHouse_UnknownCycle(bytes32 cycleId);
    // Payouts
    error ClearingHouse_CountMismatch(uint256 count, uint256 expected);
    error ClearingHouse_IndexOutOfRange(uint32 index, uint32 payouts);
    error ClearingHouse_InvalidProof(bytes32 payoutId);
    error ClearingHouse_AboveTotal(bytes32 cycleId, uint256 taken, uint256 total);
    error ClearingHouse_OtherPayout(bytes32 payoutId, bytes32 given);

    /// @notice Closes a cycle. `signature` is the bank's, over the EIP-712 struct Cycle. `number` is the next one of the currency and
    /// scheme, `toBlock` above that of the cycle before, and `atBlock` at least `toBlock` and below the present block.
    /// @return batch the number of the sealed batch, whose one record is the cycle.
    function closeCycle(Cycle calldata cycle, address bank, bytes calldata signature)
        external
        returns (uint256 batch);

    /// @notice Takes payouts of a cycle from the positions of their participants, in the given order. A payout for a participant that is
    /// frozen, SUSPENDED or not enrolled, or whose position has less, is refused for good (PayoutRefused). One that was taken or refused before is passed
    /// over. A payout that is not under the cycle's root, or takes more than the cycle's total, reverts all of it.
    /// @param proofs the path of each payout to the cycle's root.
    /// @return batch the number of the sealed batch, 0 when nothing was recorded.
    function take(bytes32 cycleId, Payout[] calldata payouts, bytes32[][] calldata proofs)
        external
        returns (uint256 batch);

    /// @notice Notes what became of payouts of a cycle, in the given order. `signature` is the bank's, over
    /// Report(bytes32 cycleId,Outcome[] outcomes). PAID and FAILED follow on IN_TRANSIT, RETURNED on PAID; any other outcome is passed over (OutcomePassedOver),
    /// so that a report that is relayed again changes nothing.
    /// @param payouts the payout of each outcome, with its path to the cycle's root in `proofs`.
    /// @return batch the number of the sealed batch, 0 when nothing was recorded.
    function report(
        bytes32 cycleId,
        Outcome[] calldata outcomes,
        Payout[] calldata payouts,
        bytes32[][] calldata proofs,
        address bank,
        bytes calldata signature
    ) external returns (uint256 batch);

    /// @notice Gives all that waits in a participant's suspense position to the participant, or to the heir of a CLOSED one
    /// (IParticipantRegistry.heirOf), which must be ACTIVE. Anyone may call it. Reverts with SplitLedger_RecipientNotActive or
    /// SplitLedger_NothingParked.
    /// @return batch the number of the sealed batch.
    function resolve(bytes3 currency, bytes32 participant) external returns (uint256 batch);

    /// @notice What is kept of a cycle; all zero when it was never closed.
    function cycleOf(bytes32 cycleId) external view returns (CycleState memory);

    /// @notice Number and last block of the newest cycle of a currency and scheme; zero when there is none.
    function lastCycle(bytes3 currency, bytes32 scheme) external view returns (uint32 number, uint64 toBlock);

    /// @notice The states of a cycle's payouts by their indices. NONE also where there is no such payout.
    function payoutStates(bytes32 cycleId, uint32[] calldata indices) external view returns (PayoutState[] memory);

    function registry() external view returns (IParticipantRegistry);
    function ledger() external view returns (ISplitLedger);
    function ledgerView() external view returns (ILedgerView);
}
