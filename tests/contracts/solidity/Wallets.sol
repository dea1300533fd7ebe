// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice A contract account (ERC-1271) that accepts what its owner signed. The owner can be changed.
contract OwnerWallet {
    address public owner;

    constructor(address owner_) {
        owner = owner_;
    }

    function setOwner(address next) external {
        owner = next;
    }

    function isValidSignature(bytes32 digest, bytes calldata signature) external view returns (bytes4) {
        if (signature.length != 65) return 0xffffffff;
        address signer = ecrecover(digest, uint8(signature[64]), bytes32(signature[:32]), bytes32(signature[32:64]));
        return signer != address(0) && signer == owner ? bytes4(0x1626ba7e) : bytes4(0xffffffff);
    }

    /// @notice Acts for the wallet elsewhere, so that it can hold roles.
    function forward(address target, bytes calldata data) external returns (bytes memory) {
        (bool done, bytes memory result) = target.call(data);
        require(done, "forward failed");
        return result;
    }
}

/// @notice A contract account that answers in ways that no honest one does.
contract OddWallet {
    enum Habit {
        REVERTS,
        ANSWERS_NOTHING,
        ANSWERS_TOO_LITTLE,
        ANSWERS_WITH_DIRT,
        BURNS_ALL_GAS,
        WANTS_GAS
    }

    /// @notice What WANTS_GAS wants to have left to say yes.
    uint256 public constant WANTED = 190_000;

    Habit public habit;

    constructor(Habit habit_) {
        habit = habit_;
    }

    function isValidSignature(bytes32, bytes calldata) external view {
        Habit mine = habit;
        require(mine != Habit.REVERTS, "no");
        assembly {
            switch mine
            case 2 {
                mstore(0, shl(224, 0x1626ba7e))
                return(0, 4)
            }
            case 3 {
                mstore(0, or(shl(224, 0x1626ba7e), 1))
                return(0, 32)
            }
            case 4 {
                for {} 1 {} {}
            }
            case 5 {
                if gt(gas(), 190000) { mstore(0, shl(224, 0x1626ba7e)) }
                return(0, 32)
            }
        }
    }
}
