"""The contracts bound to Python: hashes, calldata, events, node, keys, deployments. Knows no database."""
