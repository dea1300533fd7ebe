// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {IAccessManager} from "@openzeppelin/contracts/access/manager/IAccessManager.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {
    Cycle,
    CycleState,
    IClearingHouse,
    Outcome,
    OutcomeKind,
    Payout,
    PayoutState
} from "./interfaces/IClearingHouse.sol";
import {ILedgerView} from "./interfaces/ILedgerView.sol";
import {IParticipantRegistry, ParticipantStatus} from "./interfaces/IParticipantRegistry.sol";
import {ISplitLedger, Movement, RecordKind} from "./interfaces/ISplitLedger.sol";
import {Clearing} from "./libraries/Clearing.sol";
import {Roles} from "./libraries/Roles.sol";
import {Suspense} from "./libraries/Suspense.sol";

/// @title Cycles: how what is payable leaves the ledger
/// @notice See IClearingHouse.
/// @dev This contract decides what moves; SplitLedger keeps the positions and seals the records (ISplitLedger.book).
contract ClearingHouse is IClearingHouse, AccessManaged, EIP712 {
    using Clearing for Clearing.Leaves;

    bytes32 private constant CYCLE_TYPEHASH = keccak256(
        "Cycle(bytes3 currency,bytes32 scheme,uint32 number,uint64 toBlock,uint64 atBlock,uint32 payouts,"
        "uint128 total,bytes32 payoutRoot,bytes32 billRoot,bytes32 journalHead,uint64 deadline)"
    );
    bytes32 private constant REPORT_TYPEHASH = keccak256(
        "Report(bytes32 cycleId,Outcome[] outcomes)Outcome(bytes32 payoutId,uint8 kind,bytes32 reason)"
    );
    bytes32 private constant OUTCOME_TYPEHASH = keccak256("Outcome(bytes32 payoutId,uint8 kind,bytes32 reason)");

    /// @dev The newest cycle of a currency and scheme.
    struct Last {
        uint32 number;
        uint64 toBlock;
    }

    /// @dev What a transaction moves and records; the first `moved` of `movements` count. `highest` is the greatest participant
    /// that payouts were taken for or refused to.
    struct Booking {
        Movement[] movements;
        uint256 moved;
        bytes32 highest;
        Clearing.Leaves leaves;
    }

    IParticipantRegistry public immutable registry;
    ISplitLedger public immutable ledger;
    ILedgerView public immutable ledgerView;

    mapping(bytes32 cycleId => CycleState) private _cycles;
    mapping(bytes3 currency => mapping(bytes32 scheme => Last)) private _last;
    /// @dev 2 bits a payout, 128 payouts a word.
    mapping(bytes32 cycleId => mapping(uint256 word => uint256)) private _states;

    constructor(address accessManager, ILedgerView ledgerView_)
        AccessManaged(accessManager)
        EIP712("fenzhang ClearingHouse", "1")
    {
        ledgerView = ledgerView_;
        ledger = ledgerView_.ledger();
        registry = ledger.registry();
    }

    /// @inheritdoc IClearingHouse
    function closeCycle(Cycle calldata cycle, address bank, bytes calldata signature)
        external
        returns (uint256 batch)
    {
        // check
        bytes32 structHash = keccak256(abi.encode(CYCLE_TYPEHASH, cycle));
        _checkSignature(bank, structHash, signature);
        if (block.timestamp > cycle.deadline) revert ClearingHouse_DeadlinePassed(cycle.deadline, block.timestamp);
        Last storage last = _last[cycle.currency][cycle.scheme];
        uint256 expected = uint256(last.number) + 1;
        if (cycle.number != expected) revert ClearingHouse_WrongNumber(cycle.number, expected);
        if (cycle.toBlock <= last.toBlock) revert ClearingHouse_BlockNotAbove(cycle.toBlock, last.toBlock);
        if (cycle.atBlock < cycle.toBlock) revert ClearingHouse_BlockBefore(cycle.atBlock, cycle.toBlock);
        if (cycle.atBlock >= block.number) revert ClearingHouse_BlockNotPast(cycle.atBlock, block.number);
        bool pays = cycle.payouts != 0;
        if (pays != (cycle.total != 0) || pays != (cycle.payoutRoot != bytes32(0))) {
            revert ClearingHouse_InconsistentPayouts(cycle.payouts, cycle.total, cycle.payoutRoot);
        }
        // effect
        bytes32 cycleId = keccak256(abi.encode(cycle.currency, cycle.scheme, cycle.number));
        last.number = cycle.number;
        last.toBlock = cycle.toBlock;
        _cycles[cycleId] =
            CycleState(cycle.payoutRoot, cycle.total, 0, cycle.currency, cycle.number, cycle.payouts);
        emit CycleClosed(cycleId, cycle, bank);
        Booking memory booking = _open(1);
        booking.leaves.add(RecordKind.CYCLE, cycleId, cycle.total, structHash);
        return _book(cycle.currency, booking);
    }

    /// @inheritdoc IClearingHouse
    function take(bytes32 cycleId, Payout[] calldata payouts, bytes32[][] calldata proofs)
        external
        returns (uint256 batch)
    {
        CycleState storage cycle = _known(cycleId);
        _checkCount(proofs.length, payouts.length);
        int256[] memory positions = _positionsOf(cycle.currency, payouts);
        Booking memory booking = _open(payouts.length);
        for (uint256 i = 0; i < payouts.length; ++i) {
            Payout calldata payout = payouts[i];
            if (_stateOf(cycle, cycleId, payout.index) != PayoutState.NONE) continue;
            bytes32 payoutId = _prove(cycle, cycleId, payout, proofs[i]);
            bytes memory reason = _refusal(payout, positions[i] - _moved(booking, payout.participant));
            if (reason.length == 0) _take(cycle, cycleId, payout, payoutId, booking);
            else _refuse(cycleId, payout, payoutId, reason, booking);
        }
        return _book(cycle.currency, booking);
    }

    /// @inheritdoc IClearingHouse
    function report(
        bytes32 cycleId,
        Outcome[] calldata outcomes,
        Payout[] calldata payouts,
        bytes32[][] calldata proofs,
        address bank,
        bytes calldata signature
    ) external returns (uint256 batch) {
        CycleState storage cycle = _known(cycleId);
        _checkCount(payouts.length, outcomes.length);
        _checkCount(proofs.length, outcomes.length);
        _checkSignature(bank, _reportHash(cycleId, outcomes), signature);
        Booking memory booking = _open(outcomes.length);
        for (uint256 i = 0; i < outcomes.length; ++i) {
            PayoutState state = _stateOf(cycle, cycleId, payouts[i].index);
            bytes32 payoutId = _prove(cycle, cycleId, payouts[i], proofs[i]);
            if (payoutId != outcomes[i].payoutId) revert ClearingHouse_OtherPayout(outcomes[i].payoutId, payoutId);
            _follow(cycleId, cycle.currency, outcomes[i], payouts[i], state, booking);
        }
        return _book(cycle.currency, booking);
    }

    /// @inheritdoc IClearingHouse
    function resolve(bytes3 currency, bytes32 participant) external returns (uint256 batch) {
        // check
        bytes32 heir = registry.heirOf(participant);
        (ParticipantStatus status,) = registry.participantOf(heir);
        if (status != ParticipantStatus.ACTIVE) revert ISplitLedger.SplitLedger_RecipientNotActive(participant);
        bytes32[] memory suspense = new bytes32[](1);
        suspense[0] = Suspense.idOf(participant);
        int256 waiting = ledgerView.positions(currency, suspense)[0];
        if (waiting <= 0) revert ISplitLedger.SplitLedger_NothingParked(currency, participant);
        // effect
        uint96 amount = uint96(uint256(waiting));
        emit SuspenseResolved(currency, participant, heir, amount);
        Booking memory booking = _open(1);
        _move(booking, suspense[0], heir, amount);
        booking.leaves.add(RecordKind.RESOLUTION, participant, amount, keccak256(abi.encode(currency, heir)));
        return _book(currency, booking);
    }

    /// @inheritdoc IClearingHouse
    function cycleOf(bytes32 cycleId) external view returns (CycleState memory) {
        return _cycles[cycleId];
    }

    /// @inheritdoc IClearingHouse
    function lastCycle(bytes3 currency, bytes32 scheme) external view returns (uint32 number, uint64 toBlock) {
        Last storage last = _last[currency][scheme];
        return (last.number, last.toBlock);
    }

    /// @inheritdoc IClearingHouse
    function payoutStates(bytes32 cycleId, uint32[] calldata indices)
        external
        view
        returns (PayoutState[] memory states)
    {
        states = new PayoutState[](indices.length);
        for (uint256 i = 0; i < indices.length; ++i) {
            states[i] = _readState(cycleId, indices[i]);
        }
    }

    // ---------------------------------------------------------------------- taking

    function _refusal(Payout calldata payout, int256 position) private view returns (bytes memory reason) {
        bytes32 participant = payout.participant;
        if (registry.isFrozen(participant)) {
            return abi.encodeWithSelector(ISplitLedger.SplitLedger_ParticipantFrozen.selector, participant);
        }
        (ParticipantStatus status,) = registry.participantOf(participant);
        if (status != ParticipantStatus.ACTIVE && status != ParticipantStatus.CLOSED) {
            return abi.encodeWithSelector(ISplitLedger.SplitLedger_RecipientNotActive.selector, participant);
        }
        if (position < int256(uint256(payout.amount))) {
            return abi.encodeWithSelector(
                ISplitLedger.SplitLedger_InsufficientPosition.selector, participant, payout.amount, position
            );
        }
    }

    /// @dev What earlier payouts of this transaction take from the position, which the ledger learns of at the end. Nothing
    /// need be looked through while participants ascend.
    function _moved(Booking memory booking, bytes32 participant) private pure returns (int256 amount) {
        if (participant > booking.highest) {
            booking.highest = participant;
            return 0;
        }
        for (uint256 i = 0; i < booking.moved; ++i) {
            Movement memory movement = booking.movements[i];
            if (movement.from == participant) amount += int256(uint256(movement.amount));
        }
    }

    function _take(
        CycleState storage cycle,
        bytes32 cycleId,
        Payout calldata payout,
        bytes32 payoutId,
        Booking memory booking
    ) private {
        uint256 taken = uint256(cycle.taken) + payout.amount;
        if (taken > cycle.total) revert ClearingHouse_AboveTotal(cycleId, taken, cycle.total);
        cycle.taken = uint128(taken);
        _setState(cycleId, payout.index, PayoutState.IN_TRANSIT);
        _move(booking, payout.participant, Clearing.IN_TRANSIT, payout.amount);
        emit PayoutTaken(cycleId, payoutId, payout.index, payout.participant, payout.amount);
        bytes32 content = keccak256(abi.encode(cycleId, cycle.currency, payout.participant));
        booking.leaves.add(RecordKind.PAYOUT, payoutId, payout.amount, content);
    }

    function _refuse(
        bytes32 cycleId,
        Payout calldata payout,
        bytes32 payoutId,
        bytes memory reason,
        Booking memory booking
    ) private {
        _setState(cycleId, payout.index, PayoutState.ENDED);
        emit PayoutRefused(cycleId, payoutId, payout.index, payout.participant, payout.amount, reason);
        booking.leaves.add(RecordKind.REJECTION, payoutId, payout.amount, keccak256(reason));
    }

    // ---------------------------------------------------------------------- reporting

    function _follow(
        bytes32 cycleId,
        bytes3 currency,
        Outcome calldata outcome,
        Payout calldata payout,
        PayoutState state,
        Booking memory booking
    ) private {
        OutcomeKind kind = outcome.kind;
        if (state != (kind == OutcomeKind.RETURNED ? PayoutState.PAID : PayoutState.IN_TRANSIT)) {
            emit OutcomePassedOver(cycleId, outcome.payoutId, kind, state);
            return;
        }
        (bytes32 participant, uint96 amount) = (payout.participant, payout.amount);
        if (kind == OutcomeKind.PAID) {
            _setState(cycleId, payout.index, PayoutState.PAID);
            _move(booking, Clearing.IN_TRANSIT, Clearing.PAID, amount);
            emit PayoutPaid(cycleId, outcome.payoutId, participant, amount);
            bytes32 paid = keccak256(abi.encode(cycleId, currency, participant));
            booking.leaves.add(RecordKind.PAYOUT_PAID, outcome.payoutId, amount, paid);
            return;
        }
        _setState(cycleId, payout.index, PayoutState.ENDED);
        bytes32 content = keccak256(abi.encode(cycleId, currency, participant, outcome.reason));
        if (kind == OutcomeKind.FAILED) {
            _move(booking, Clearing.IN_TRANSIT, participant, amount);
            emit PayoutFailed(cycleId, outcome.payoutId, participant, amount, outcome.reason);
            booking.leaves.add(RecordKind.PAYOUT_FAILED, outcome.payoutId, amount, content);
        } else {
            _move(booking, Clearing.PAID, participant, amount);
            emit PayoutReturned(cycleId, outcome.payoutId, participant, amount, outcome.reason);
            booking.leaves.add(RecordKind.PAYOUT_RETURNED, outcome.payoutId, amount, content);
        }
    }

    function _reportHash(bytes32 cycleId, Outcome[] calldata outcomes) private pure returns (bytes32) {
        bytes32[] memory hashes = new bytes32[](outcomes.length);
        for (uint256 i = 0; i < outcomes.length; ++i) {
            hashes[i] = keccak256(abi.encode(OUTCOME_TYPEHASH, outcomes[i]));
        }
        return keccak256(abi.encode(REPORT_TYPEHASH, cycleId, keccak256(abi.encodePacked(hashes))));
    }

    // ---------------------------------------------------------------------- payouts

    /// @return payoutId of a payout that is under the cycle's root.
    function _prove(CycleState storage cycle, bytes32 cycleId, Payout calldata payout, bytes32[] calldata proof)
        private
        view
        returns (bytes32 payoutId)
    {
        payoutId = keccak256(bytes.concat(keccak256(abi.encode(cycleId, payout))));
        if (!MerkleProof.verifyCalldata(proof, cycle.payoutRoot, payoutId)) {
            revert ClearingHouse_InvalidProof(payoutId);
        }
    }

    function _stateOf(CycleState storage cycle, bytes32 cycleId, uint32 index) private view returns (PayoutState) {
        if (index >= cycle.payouts) revert ClearingHouse_IndexOutOfRange(index, cycle.payouts);
        return _readState(cycleId, index);
    }

    function _readState(bytes32 cycleId, uint32 index) private view returns (PayoutState) {
        return PayoutState(_states[cycleId][index >> 7] >> 2 * (index & 127) & 3);
    }

    function _setState(bytes32 cycleId, uint32 index, PayoutState state) private {
        uint256 shift = 2 * (index & 127);
        uint256 word = _states[cycleId][index >> 7];
        _states[cycleId][index >> 7] = word & ~(uint256(3) << shift) | uint256(state) << shift;
    }

    function _positionsOf(bytes3 currency, Payout[] calldata payouts) private view returns (int256[] memory) {
        bytes32[] memory participants = new bytes32[](payouts.length);
        for (uint256 i = 0; i < payouts.length; ++i) {
            participants[i] = payouts[i].participant;
        }
        return ledgerView.positions(currency, participants);
    }

    // ---------------------------------------------------------------------- booking

    function _open(uint256 most) private pure returns (Booking memory booking) {
        booking.movements = new Movement[](most);
        booking.leaves = Clearing.open(most);
    }

    function _move(Booking memory booking, bytes32 from, bytes32 to, uint96 amount) private pure {
        booking.movements[booking.moved++] = Movement(from, to, amount);
    }

    function _book(bytes3 currency, Booking memory booking) private returns (uint256 batch) {
        if (booking.leaves.count == 0) return 0;
        Movement[] memory movements = booking.movements;
        uint256 moved = booking.moved;
        assembly ("memory-safe") {
            mstore(movements, moved)
        }
        return ledger.book(currency, movements, booking.leaves.root(), booking.leaves.count);
    }

    // ---------------------------------------------------------------------- checks

    function _known(bytes32 cycleId) private view returns (CycleState storage cycle) {
        cycle = _cycles[cycleId];
        if (cycle.number == 0) revert ClearingHouse_UnknownCycle(cycleId);
    }

    function _checkCount(uint256 count, uint256 expected) private pure {
        if (count != expected) revert ClearingHouse_CountMismatch(count, expected);
    }

    function _checkSignature(address bank, bytes32 structHash, bytes calldata signature) private view {
        (bool isBank,) = IAccessManager(authority()).hasRole(Roles.CLEARING_BANK, bank);
        if (!isBank) revert ClearingHouse_NotClearingBank(bank);
        if (!SignatureChecker.isValidSignatureNowCalldata(bank, _hashTypedDataV4(structHash), signature)) {
            revert ClearingHouse_InvalidSignature(bank);
        }
    }
}
