// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IConditions} from "./IConditions.sol";
import {IParticipantRegistry} from "./IParticipantRegistry.sol";
import {IRuleBook, RuleState} from "./IRuleBook.sol";

/// @notice What the attestor (bank) signs about one order: its money was received.
/// Before `holdUntil` the order can be refunded and nothing else. From `expiresAt` on it is not split any more, and anyone
/// may release what it holds. Both are Unix seconds, 0 for none; when both are set, `holdUntil` is the earlier one.
/// `facts` are what was said of the sale, four codes of 8 ASCII characters: promotion, category, member tier, channel.
/// `condition` is one that the platform has opened (IConditions) and that the order joins; zero for none.
/// `bindings` are participants in the order of the rule version's roles; zero leaves a role open for the split to bind.
struct Capture {
    bytes32 orderId;
    bytes32 platform;
    bytes32 merchant;
    bytes32 ruleId;
    uint32 ruleVersion;
    bytes3 currency;
    uint96 amount;
    uint64 holdUntil;
    uint64 expiresAt;
    bytes32 facts;
    bytes32 condition;
    bytes32[] bindings;
}

/// @notice A signed list of captures.
struct Attestation {
    address attestor;
    uint256 nonce;
    uint64 deadline;
    Capture[] captures;
    bytes signature;
}

enum InstructionKind {
    SPLIT,
    RELEASE,
    RETURN,
    REFUND
}

/// @notice One instruction of a platform. `id` names it in events; keep ids distinct (derive them from platform and
/// reference). Fields that a kind does not use are zero or empty:
/// SPLIT: `amount`, `bindings` for roles that the order left open (empty, or one entry per role), and in `amounts` what
/// each GIVEN leg of the rule takes, in leg order (empty for a rule without).
/// RELEASE: nothing else. RETURN: `splitId`, `amount`, and optionally `amounts` per leaf, which sum to `amount`.
/// REFUND: `amount`.
struct Instruction {
    InstructionKind kind;
    bytes32 id;
    bytes32 orderId;
    bytes32 splitId;
    uint96 amount;
    bytes32[] bindings;
    uint96[] amounts;
}

/// @notice A signed list of instructions of one platform.
struct Authorization {
    bytes32 platform;
    uint256 nonce;
    uint64 deadline;
    Instruction[] instructions;
    bytes signature;
}

/// @notice Recipient and amount: the result of one leaf leg.
struct Allocation {
    bytes32 recipient;
    uint96 amount;
}

enum RecordKind {
    CAPTURE,
    SPLIT,
    RELEASE,
    RETURN,
    REJECTION,
    REFUND,
    RESOLUTION,
    CYCLE,
    PAYOUT,
    PAYOUT_PAID,
    PAYOUT_FAILED,
    PAYOUT_RETURNED
}

/// @notice `amount` goes from one position to another.
struct Movement {
    bytes32 from;
    bytes32 to;
    uint96 amount;
}

/// @notice A settled record of an order, opened: what SPLIT, RELEASE, RETURN and REFUND events carry.
/// `splitId` is used by RETURN only; a REFUND has its takes as `allocations`, the rest of its amount came from held money.
struct PastRecord {
    RecordKind kind;
    bytes32 id;
    bytes32 splitId;
    uint96 amount;
    Allocation[] allocations;
}

/// @notice The known past of an order that an instruction touches, for an order not captured in the same transaction.
/// It is evidence, not authority: it is checked against the order's slot. `head` is the hash chain over the order's
/// records so far; `past` opens that chain and is needed only when a RETURN or REFUND comes first for that order.
struct OrderWitness {
    Capture capture;
    bytes32 head;
    PastRecord[] past;
}

/// @title Captures, splits, releases, returns and refunds
/// @notice What holds, whoever calls:
/// 1. Authority: a capture carries an attestor's signature, every instruction its platform's. Relaying needs no role.
/// 2. Exactly once: an authorization takes effect once, by its nonce; an order id is captured once, for ever.
/// 3. Conservation: split + released + refunded from held - returned <= captured per order; per allocation, and per release,
/// what was returned and refunded from it <= what it was.
/// And while a rule version or a platform has a cap: what an order's splits give to others than its merchant, less what was
/// returned, is at most that share of what was captured, rounded down.
/// 4. Determinism: amounts are computed here from the stored rule version. No caller supplies them. What a GIVEN leg takes,
/// the platform signs, within the bounds that the approved version sets.
/// And while a platform has a schedule in force (ISchedules): its orders are captured by the rule that the schedule selects for
/// their facts, currency and amount at that time, and by no other.
/// 5. A bad instruction is rejected by an event; its neighbours settle.
/// 6. Per currency: positions + held + refunded = captured. Positions count with their sign. Two of them are of money that leaves the
/// ledger (Clearing.IN_TRANSIT and Clearing.PAID), and are never negative.
/// 7. Evidence: each transaction that records anything seals a batch, the Merkle root of its records.
///
/// An order is one slot: `held` (low 96 bits), and a 160-bit commitment to keccak256(captureHash, head), where captureHash is the
/// EIP-712 struct hash of its Capture, and head starts at zero and becomes keccak256(head, leaf) with each settled record.
/// Callers supply the past as a witness. What may stop an order besides, its condition and freezes, is kept by IConditions.
///
/// While the condition of an order is open, an authorization that splits or releases the order is skipped: so it may be signed in
/// advance, and nobody burns it by relaying it too early. A condition that was missed ends in a refund: `expire` gives
/// the buyer what the order holds.
///
/// A record's leaf is keccak256(keccak256(abi.encode(uint8 kind, bytes32 id, bytes32 orderId, uint256 amount,
/// bytes32 content))), content being: CAPTURE the captureHash; SPLIT keccak256(abi.encode(Allocation[])); RELEASE the
/// merchant; RETURN keccak256(abi.encode(splitId, Allocation[])); REFUND keccak256(abi.encode(Allocation[])) of its
/// takes; REJECTION keccak256(reason); RESOLUTION keccak256(abi.encode(bytes3 currency, heir)), its id being the participant's and
/// its orderId zero. The batch tree is a StandardMerkleTree with leaves in event order (not sorted).
///
/// A REFUND gives `amount` of the order back to its buyer, all of it or nothing. The order's held money is taken first, then
/// the leaves of the order give the rest: those of all its splits, and for each release one that is its merchant, in the
/// order of their records. Each gives in proportion to what it still has (allocated or released, less what was returned and
/// refunded from it), by one cumulative floor over all of them, as in a RETURN. What was refunded is no longer the order's.
///
/// A RETURN or REFUND may take more than a recipient's position has. By a rule version whose terms say `mayOwe` the position
/// then becomes negative: a debt, which the recipient's next allocations pay. By any other it is rejected.
///
/// A share for a recipient that is SUSPENDED or CLOSED when its order is split is parked, if the rule version's terms say
/// `park`: the allocation names its suspense position, whose id is the complement (~) of the participant's. By any other
/// version such a split is rejected. A suspense position is resolved by IClearingHouse.resolve. When a return or refund takes more
/// from a position than it has, the same participant's other one gives in its place (its suspense position, or its own) if
/// that has as much, else for a suspense position the heir; the allocation names who gave. No release parks anything: what an order
/// holds for a merchant that is not ACTIVE stays held.
///
/// An attestation or authorization that lists nothing is refused, and its nonce stays free.
///
/// A signer that is a contract (ERC-1271) is asked for its signature with 200,000 gas; needing more means no.
/// A transaction that has less than that left when it comes to ask reverts with SplitLedger_GasTooLow.
///
/// Warning: captures and instructions stand in calldata as every ABI encoder puts them: fields in range, lists and their
/// structs one behind the other. A transaction with other calldata reverts (SplitLedger_IrregularCalldata, or without
/// data), whatever was signed. Only the words of `amounts` are judged one by one: one that is too large makes a SPLIT or
/// RETURN a MalformedInstruction. So does an amount given to a rule without GIVEN legs.
/// Warning: an instruction that arrives before what it depends on (a split before its capture) is rejected for good,
/// whoever relayed it in that order.
/// Warning: an outdated or missing witness is the relayer's mistake and never the signer's: the authorization is
/// skipped, stays valid, and can be relayed again.
/// Warning: a RETURN or REFUND opens the order's past as it was before its authorization, so it stands before any other
/// instruction of the same order in that authorization; behind one that settled it is rejected.
/// Warning: positions and totals are written at the end of a transaction. A contract account that is asked for a
/// signature in the middle of it sees some orders moved on and their money not yet.
/// Warning: money released or returned is only moved between held and positions. Paying out is decided by IClearingHouse, which alone
/// may move positions by `book`.
interface ISplitLedger {
    /// @notice Times, facts and condition of the order that the next event captures. Orders without any have no such event.
    event OrderTerms(bytes32 indexed orderId, uint64 holdUntil, uint64 expiresAt, bytes32 facts, bytes32 condition);
    /// @notice An order's money was attested and is now held.
    event OrderCaptured(
        bytes32 indexed orderId,
        bytes32 indexed platform,
        bytes32 merchant,
        bytes32 ruleId,
        uint32 ruleVersion,
        bytes3 currency,
        uint96 amount,
        bytes32[] bindings
    );
    /// @notice `amount` of the order was split; one allocation per leaf, in leg order, zeros included.
    event OrderSplit(bytes32 indexed orderId, bytes32 indexed splitId, uint96 amount, Allocation[] allocations);
    /// @notice What was still held went to the merchant of the order. A release by `expire` has the order's id as its own.
    event OrderReleased(bytes32 indexed orderId, bytes32 indexed releaseId, bytes32 merchant, uint96 amount);
    /// @notice An order given to `expire` was left as it is. `reason` is the ABI encoding of one of the custom errors below.
    event ExpiryPassedOver(bytes32 indexed orderId, bytes reason);
    /// @notice `amount` was taken back from the leaves of `splitId` and is held again; one allocation per leaf.
    event SplitReturned(
        bytes32 indexed orderId,
        bytes32 indexed returnId,
        bytes32 indexed splitId,
        uint96 amount,
        Allocation[] allocations
    );
    /// @notice `amount` of the order is its buyer's again: `fromHeld` of what it held, and from each leaf of its splits and
    /// releases what `takes` says, one entry per leaf in the order of their records, zeros included. A refund by `expire` has
    /// the order's id as its own, and takes from held money alone.
    event OrderRefunded(
        bytes32 indexed orderId,
        bytes32 indexed refundId,
        uint96 amount,
        uint96 fromHeld,
        Allocation[] takes
    );
    /// @notice An authorised instruction (or attested capture, then `id` is the order id) was refused. `reason` is the
    /// ABI encoding of one of the custom errors below.
    event InstructionRejected(
        bytes32 indexed signer,
        bytes32 indexed id,
        bytes32 indexed orderId,
        RecordKind kind,
        uint96 amount,
        bytes reason
    );
    /// @notice An attestation or authorization as a whole was refused and none of its instructions looked at.
    /// `signer` is the platform, or the attestor's address as bytes32. `digest` is what was to be signed.
    event AuthorizationRejected(bytes32 indexed signer, bytes32 indexed digest, uint256 nonce, bytes reason);
    /// @notice An authorization was passed over because the witness for `orderId` does not match its slot, or because it splits or
    /// releases that order while its condition is open. It stays valid.
    event AuthorizationSkipped(bytes32 indexed signer, bytes32 indexed digest, uint256 nonce, bytes32 orderId);
    /// @notice The records of this transaction, in event order, were sealed under `root`.
    event BatchSealed(uint256 indexed batch, bytes32 root, uint256 records);
    /// @notice A currency was opened or closed for captures.
    event CurrencyChanged(bytes3 indexed currency, bool enabled);

    // Authorizations
    error SplitLedger_InvalidSignature(bytes32 signer);
    error SplitLedger_DeadlinePassed(uint256 deadline, uint256 timestamp);
    error SplitLedger_NonceUsed(uint256 nonce);
    error SplitLedger_NotAttestor(address attestor);
    error SplitLedger_PlatformNotActive(bytes32 platform);
    error SplitLedger_EmptyAuthorization(uint256 nonce);
    // Captures
    error SplitLedger_ZeroAmount();
    error SplitLedger_AmountAboveLimit(uint256 amount, uint256 limit);
    error SplitLedger_CurrencyNotEnabled(bytes3 currency);
    error SplitLedger_OrderAlreadyCaptured(bytes32 orderId);
    error SplitLedger_RuleNotInForce(bytes32 ruleId, uint32 version, RuleState state);
    error SplitLedger_RuleNotSelected(bytes32 ruleId, bytes32 selected);
    error SplitLedger_BindingCount(uint256 count, uint256 expected);
    error SplitLedger_RecipientNotActive(bytes32 recipient);
    error SplitLedger_RecipientNotConsented(bytes32 recipient, bytes32 platform);
    error SplitLedger_HoldBeyondExpiry(uint64 holdUntil, uint64 expiresAt);
    error SplitLedger_UnknownCondition(bytes32 condition);
    // Instructions
    error SplitLedger_UnknownOrder(bytes32 orderId);
    error SplitLedger_NotOrderPlatform(bytes32 orderId, bytes32 platform);
    error SplitLedger_MalformedInstruction(bytes32 id);
    error SplitLedger_InsufficientHeld(bytes32 orderId, uint256 amount, uint256 held);
    error SplitLedger_RoleNotBound(bytes32 role);
    error SplitLedger_RoleAlreadyBound(bytes32 role, bytes32 recipient);
    error SplitLedger_LegExceedsRemaining(uint256 leg, uint256 taken, uint256 remaining);
    error SplitLedger_GivenCount(uint256 count, uint256 expected);
    error SplitLedger_GivenOutOfBounds(uint256 leg, uint256 amount, uint256 least, uint256 most);
    error SplitLedger_ShareOutAboveCap(bytes32 orderId, uint256 leaving, uint256 left);
    error SplitLedger_NothingHeld(bytes32 orderId);
    error SplitLedger_OnHold(bytes32 orderId, uint64 holdUntil);
    error SplitLedger_OrderExpired(bytes32 orderId, uint64 expiresAt);
    error SplitLedger_ReturnNotFirst(bytes32 orderId);
    error SplitLedger_UnknownSplit(bytes32 orderId, bytes32 splitId);
    error SplitLedger_InsufficientReturnable(bytes32 splitId, uint256 amount, uint256 returnable);
    error SplitLedger_LeafNotReturnable(bytes32 splitId, uint256 leaf, uint256 amount, uint256 returnable);
    error SplitLedger_InsufficientRefundable(bytes32 orderId, uint256 amount, uint256 refundable);
    error SplitLedger_InsufficientPosition(bytes32 recipient, uint256 amount, int256 position);
    // Conditions
    error SplitLedger_ConditionOpen(bytes32 orderId, bytes32 condition);
    error SplitLedger_ConditionMissed(bytes32 orderId, bytes32 condition);
    // Freezes
    error SplitLedger_OrderFrozen(bytes32 orderId);
    error SplitLedger_SplitFrozen(bytes32 orderId, bytes32 splitId);
    error SplitLedger_ParticipantFrozen(bytes32 participant);
    // Expiry
    error SplitLedger_OrderNotExpired(bytes32 orderId, uint64 expiresAt);
    error SplitLedger_OutdatedWitness(bytes32 orderId);
    // Suspense positions
    error SplitLedger_NothingParked(bytes3 currency, bytes32 participant);
    // The transaction as a whole
    error SplitLedger_OrderChanged(bytes32 orderId);
    error SplitLedger_IndexCount(uint256 length, uint256 expected);
    error SplitLedger_IrregularCalldata();
    error SplitLedger_GasTooLow(uint256 gas, uint256 needed);

    /// @notice Applies attestations, then authorizations, in the given order, and seals what was recorded.
    /// @param orders witnesses of orders captured in earlier transactions, each order at most once.
    /// @param orderIndex two bytes (big endian) per instruction, over all authorizations: the place of its order among
    /// the captures of this call followed by `orders`; 0xffff when the order is not known to the chain.
    /// @return batch the number of the sealed batch, 0 when nothing was recorded.
    function settle(
        Attestation[] calldata attestations,
        Authorization[] calldata authorizations,
        OrderWitness[] calldata orders,
        bytes calldata orderIndex
    ) external returns (uint256 batch);

    /// @notice Ends orders whose time has come. Anyone may call it, and no platform can prevent it. Each order must match its
    /// witness, hold something and not be frozen. If its condition was missed, what it holds is refunded to its buyer. Else, if it has
    /// expired, its condition is not open and its merchant is ACTIVE, what it holds is released to the merchant. The order id is
    /// the id of that refund or release, and the records are sealed; the others are passed over (ExpiryPassedOver).
    /// @return batch the number of the sealed batch, 0 when nothing was refunded or released.
    function expire(OrderWitness[] calldata orders) external returns (uint256 batch);

    /// @notice Moves positions of a currency, in the given order, and seals a batch of `count` records with that root. The ClearingHouse only,
    /// which decides what moves. Reverts with SplitLedger_InsufficientPosition where a position has less than is to leave it.
    /// @return batch the number of the sealed batch.
    function book(bytes3 currency, Movement[] calldata movements, bytes32 root, uint256 count)
        external
        returns (uint256 batch);

    /// @notice Opens or closes currencies for new captures. Administration only.
    function setCurrencies(bytes3[] calldata currencies, bool enabled) external;

    function registry() external view returns (IParticipantRegistry);
    function ruleBook() external view returns (IRuleBook);
    function conditions() external view returns (IConditions);

    /// @notice Words of this contract's storage. LedgerView answers from them what there is to ask.
    function load(bytes32[] calldata slots) external view returns (bytes32[] memory words);
}
