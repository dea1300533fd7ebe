// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {IAccessManager} from "@openzeppelin/contracts/access/manager/IAccessManager.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {IConditions} from "./interfaces/IConditions.sol";
import {IParticipantRegistry, ParticipantStatus} from "./interfaces/IParticipantRegistry.sol";
import {IRuleBook} from "./interfaces/IRuleBook.sol";
import {
    Attestation,
    Authorization,
    Capture,
    ISplitLedger,
    Instruction,
    InstructionKind,
    Movement,
    OrderWitness,
    RecordKind
} from "./interfaces/ISplitLedger.sol";
import {BatchRoot} from "./libraries/BatchRoot.sol";
import {Roles} from "./libraries/Roles.sol";
import {Cursor, Run, Runs} from "./libraries/Runs.sol";
import {Settlement} from "./libraries/Settlement.sol";
import {Typed} from "./libraries/Typed.sol";
import {Words} from "./libraries/Words.sol";

/// @title The ledger of captures, splits, releases, returns and refunds
/// @notice See ISplitLedger.
/// @dev This contract decides who may do what and once; Settlement decides what an instruction does to an order.
contract SplitLedger is ISplitLedger, AccessManaged, EIP712 {
    using Runs for Run;
    using Runs for Cursor;

    /// @dev Gas for the question whether a contract account (ERC-1271) takes a signature. A settle must keep that much
    /// and its overhead (a call forwards at most 63/64) for each, or it reverts.
    uint256 private constant WALLET_GAS = 200_000;
    uint256 private constant WALLET_GAS_NEEDED = WALLET_GAS * 64 / 63 + 5_000;

    IParticipantRegistry public immutable registry;
    IRuleBook public immutable ruleBook;
    IConditions public immutable conditions;

    // LedgerView knows where these stand.
    Settlement.Books private _books;
    mapping(bytes32 signer => mapping(uint256 word => uint256)) private _nonceBitmap;
    mapping(uint256 batch => bytes32) private _batchRoots;
    uint256 private _batchCount;

    constructor(address accessManager, IParticipantRegistry registry_, IRuleBook ruleBook_, IConditions conditions_)
        AccessManaged(accessManager)
        EIP712("fenzhang SplitLedger", "1")
    {
        registry = registry_;
        ruleBook = ruleBook_;
        conditions = conditions_;
    }

    /// @inheritdoc ISplitLedger
    function settle(
        Attestation[] calldata attestations,
        Authorization[] calldata authorizations,
        OrderWitness[] calldata orders,
        bytes calldata orderIndex
    ) external returns (uint256 batch) {
        Run memory run = Runs.open(attestations, authorizations, orders.length, registry, ruleBook, conditions);
        if (orderIndex.length != 2 * run.instructions) {
            revert SplitLedger_IndexCount(orderIndex.length, 2 * run.instructions);
        }
        for (uint256 i = 0; i < attestations.length; ++i) {
            _attest(run, attestations[i]);
        }
        for (uint256 i = 0; i < orders.length; ++i) {
            Settlement.witness(_books, run, orders[i]);
        }
        if (authorizations.length != 0) run.lookForFreezes();
        uint256 first;
        for (uint256 i = 0; i < authorizations.length; ++i) {
            Authorization calldata authorization = authorizations[i];
            uint256 size = 2 * authorization.instructions.length;
            _authorize(run, authorization, orderIndex[first:first + size]);
            first += size;
        }
        batch = _seal(run);
    }

    /// @inheritdoc ISplitLedger
    function expire(OrderWitness[] calldata orders) external returns (uint256 batch) {
        Run memory run = Runs.openForExpiry(orders.length, registry, conditions);
        run.lookForFreezes();
        for (uint256 i = 0; i < orders.length; ++i) {
            Settlement.witness(_books, run, orders[i]);
            bytes memory reason = Settlement.expire(_books, run);
            if (reason.length != 0) emit ExpiryPassedOver(run.cursor.captureOf().orderId, reason);
        }
        batch = _seal(run);
    }

    /// @inheritdoc ISplitLedger
    function book(bytes3 currency, Movement[] calldata movements, bytes32 root, uint256 count)
        external
        restricted
        returns (uint256 batch)
    {
        mapping(bytes32 participant => int256 amount) storage positions = _books.positions[currency];
        for (uint256 i = 0; i < movements.length; ++i) {
            Movement calldata movement = movements[i];
            int256 amount = int256(uint256(movement.amount));
            int256 position = positions[movement.from];
            if (position < amount) {
                revert SplitLedger_InsufficientPosition(movement.from, movement.amount, position);
            }
            unchecked {
                positions[movement.from] = position - amount;
                positions[movement.to] += amount;
            }
        }
        return _seal(root, count);
    }

    /// @inheritdoc ISplitLedger
    function setCurrencies(bytes3[] calldata currencies, bool enabled) external restricted {
        for (uint256 i = 0; i < currencies.length; ++i) {
            _books.enabled[currencies[i]] = enabled;
            emit CurrencyChanged(currencies[i], enabled);
        }
    }

    /// @inheritdoc ISplitLedger
    function load(bytes32[] calldata slots) external view returns (bytes32[] memory words) {
        words = new bytes32[](slots.length);
        for (uint256 k = 0; k < slots.length; ++k) {
            bytes32 slot = slots[k];
            bytes32 word;
            assembly ("memory-safe") {
                word := sload(slot)
            }
            words[k] = word;
        }
    }

    function _attest(Run memory run, Attestation calldata attestation) private {
        Capture[] calldata captures = attestation.captures;
        uint256 hashes = Typed.hashes(captures);
        bytes32 signer = bytes32(uint256(uint160(attestation.attestor)));
        bytes32 digest = _hashTypedDataV4(Typed.hash(attestation, hashes));
        // check
        bytes memory reason = _refusal(
            attestation.attestor,
            signer,
            captures.length,
            _isAttestor(attestation.attestor),
            abi.encodeWithSelector(SplitLedger_NotAttestor.selector, attestation.attestor),
            digest,
            attestation.nonce,
            attestation.deadline,
            attestation.signature
        );
        bool refused = reason.length != 0;
        // effect
        if (refused) emit AuthorizationRejected(signer, digest, attestation.nonce, reason);
        else _useNonce(signer, attestation.nonce);
        _capture(run, signer, captures, hashes, refused);
    }

    /// @dev Captures of an attestation that was refused have their place as well, as orders that are not known.
    function _capture(Run memory run, bytes32 signer, Capture[] calldata captures, uint256 hashes, bool refused) private {
        if (captures.length == 0) return;
        unchecked {
            for (uint256 k = 0; k < captures.length * 32; k += 32) {
                Capture calldata capture = Typed.captureAt(captures, k);
                run.addCursor(capture, bytes32(Words.ofMemory(hashes + k)));
                if (refused) continue;
                bytes memory reason = Settlement.capture(_books, run);
                if (reason.length != 0) {
                    _reject(run, signer, capture.orderId, capture.orderId, RecordKind.CAPTURE, capture.amount, reason);
                }
            }
        }
    }

    function _authorize(Run memory run, Authorization calldata authorization, bytes calldata orderIndex) private {
        bytes32 platform = authorization.platform;
        bytes32 digest = _hashTypedDataV4(Typed.hash(authorization));
        // check
        {
            ParticipantStatus status;
            address authority_;
            (status, authority_, run.maxShareOut) = registry.platformOf(platform);
            run.caps |= run.maxShareOut;
            bool active = status == ParticipantStatus.ACTIVE && authority_ != address(0);
            bytes4 mayNot =
                active ? SplitLedger_ParticipantFrozen.selector : SplitLedger_PlatformNotActive.selector;
            bytes memory reason = _refusal(
                authority_,
                platform,
                authorization.instructions.length,
                active && !run.isFrozen(platform),
                abi.encodeWithSelector(mayNot, platform),
                digest,
                authorization.nonce,
                authorization.deadline,
                authorization.signature
            );
            if (reason.length != 0) {
                emit AuthorizationRejected(platform, digest, authorization.nonce, reason);
                return;
            }
        }
        Instruction[] calldata instructions = authorization.instructions;
        (bool ready, bytes32 orderId) = _isReady(run, instructions, orderIndex);
        if (!ready) {
            emit AuthorizationSkipped(platform, digest, authorization.nonce, orderId);
            return;
        }
        // effect
        _useNonce(platform, authorization.nonce);
        run.selectPlatform(platform);
        _execute(run, platform, instructions, orderIndex);
    }

    /// @return ready whether all instructions can be decided; if not, `orderId` is the first whose order is in doubt.
    function _isReady(Run memory run, Instruction[] calldata instructions, bytes calldata orderIndex)
        private
        returns (bool ready, bytes32 orderId)
    {
        unchecked {
            for (uint256 i = run.countReady(instructions, orderIndex); i < instructions.length; ++i) {
                Instruction calldata instruction = Typed.instructionAt(instructions, i * 32);
                if (!Settlement.isReady(_books, run, instruction, Runs.indexAt(orderIndex, i))) {
                    return (false, instruction.orderId);
                }
            }
        }
        return (true, orderId);
    }

    function _execute(Run memory run, bytes32 platform, Instruction[] calldata instructions, bytes calldata orderIndex)
        private
    {
        if (instructions.length == 0) return;
        unchecked {
            for (uint256 i = 0; i < instructions.length; ++i) {
                Instruction calldata instruction = Typed.instructionAt(instructions, i * 32);
                bytes memory reason =
                    Settlement.execute(_books, run, platform, instruction, Runs.indexAt(orderIndex, i));
                if (reason.length != 0) {
                    RecordKind kind = Settlement.recordOf(instruction);
                    _reject(run, platform, instruction.id, instruction.orderId, kind, instruction.amount, reason);
                }
            }
        }
    }

    function _refusal(
        address authority_,
        bytes32 signer,
        uint256 count,
        bool mayAct,
        bytes memory mayNot,
        bytes32 digest,
        uint256 nonce,
        uint256 deadline,
        bytes calldata signature
    ) private view returns (bytes memory reason) {
        if (!mayAct) return mayNot;
        if (!_isSignature(authority_, digest, signature)) {
            return abi.encodeWithSelector(SplitLedger_InvalidSignature.selector, signer);
        }
        if (block.timestamp > deadline) {
            return abi.encodeWithSelector(SplitLedger_DeadlinePassed.selector, deadline, block.timestamp);
        }
        if (_nonceBitmap[signer][nonce >> 8] >> (nonce & 0xff) & 1 == 1) {
            return abi.encodeWithSelector(SplitLedger_NonceUsed.selector, nonce);
        }
        if (count == 0) return abi.encodeWithSelector(SplitLedger_EmptyAuthorization.selector, nonce);
    }

    /// @dev A contract account is asked with a fixed allowance of gas, so that neither can it burn what its neighbours
    /// in the transaction need, nor can a relayer starve it into refusing what it would take.
    function _isSignature(address authority_, bytes32 digest, bytes calldata signature) private view returns (bool) {
        if (authority_.code.length == 0) {
            (address recovered, ECDSA.RecoverError failure,) = ECDSA.tryRecoverCalldata(digest, signature);
            return failure == ECDSA.RecoverError.NoError && recovered == authority_;
        }
        bytes memory question = abi.encodeCall(registry.isWalletSignature, (authority_, digest, signature));
        if (gasleft() < WALLET_GAS_NEEDED) revert SplitLedger_GasTooLow(gasleft(), WALLET_GAS_NEEDED);
        (bool answered, bytes memory answer) = address(registry).staticcall{gas: WALLET_GAS}(question);
        return answered && abi.decode(answer, (bool));
    }

    function _useNonce(bytes32 signer, uint256 nonce) private {
        _nonceBitmap[signer][nonce >> 8] |= 1 << (nonce & 0xff);
    }

    function _isAttestor(address account) private view returns (bool isMember) {
        (isMember,) = IAccessManager(authority()).hasRole(Roles.ATTESTOR, account);
    }

    function _reject(
        Run memory run,
        bytes32 signer,
        bytes32 id,
        bytes32 orderId,
        RecordKind kind,
        uint96 amount,
        bytes memory reason
    ) private {
        emit InstructionRejected(signer, id, orderId, kind, amount, reason);
        run.addLeaf(BatchRoot.leaf(RecordKind.REJECTION, id, orderId, amount, keccak256(reason)));
    }

    function _seal(Run memory run) private returns (uint256 batch) {
        Settlement.close(_books, run);
        uint256 count = run.leafCount();
        if (count == 0) return 0;
        return _seal(BatchRoot.root(run.leavesEnd, count), count);
    }

    function _seal(bytes32 root, uint256 count) private returns (uint256 batch) {
        batch = ++_batchCount;
        _batchRoots[batch] = root;
        emit BatchSealed(batch, root, count);
    }
}
