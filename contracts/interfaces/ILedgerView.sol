// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ISplitLedger} from "./ISplitLedger.sol";

/// @title What can be asked of a split ledger
/// @notice It keeps nothing itself: all answers are made from the ledger's storage. So the code that moves money has room.
interface ILedgerView {
    /// @notice The ledger that is looked at.
    function ledger() external view returns (ISplitLedger);

    /// @notice The slots of orders: commitment << 96 | frozen << 95 | held. Zero means never captured.
    function orderSlots(bytes32[] calldata orderIds) external view returns (uint256[] memory);

    /// @notice What is payable to each participant in a currency, in minor units; what it owes where negative.
    function positions(bytes3 currency, bytes32[] calldata participants) external view returns (int256[] memory);

    /// @notice Totals of a currency in minor units: ever captured, held on open orders, and ever refunded to buyers.
    function totals(bytes3 currency)
        external
        view
        returns (uint256 captured, uint256 held, uint256 refunded, bool enabled);

    /// @notice What splits gave to others than the order's merchant, less what was returned, in minor units. It is kept for
    /// orders under a cap only, from their first split under it, and while the last of them left money on the order: a
    /// return adds it up anew from the order's past.
    function sharedOut(bytes32[] calldata orderIds) external view returns (uint256[] memory);

    /// @notice Root of a sealed batch; batches count up from 1.
    function batchRoot(uint256 batch) external view returns (bytes32);
    function batchCount() external view returns (uint256);

    /// @notice Whether a leaf is in a sealed batch.
    function isRecorded(uint256 batch, bytes32 leaf, bytes32[] calldata proof) external view returns (bool);

    /// @notice The 256 nonce bits of a signer with the given word position (nonce >> 8). A set bit is a used nonce.
    function nonceBitmap(bytes32 signer, uint256 word) external view returns (uint256);
}
