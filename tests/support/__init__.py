"""What several test packages share: a chain driven by hand, deployed contracts, signers, and the Python twin."""
