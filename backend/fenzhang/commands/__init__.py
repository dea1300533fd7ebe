"""The groups of the `fenzhang` command, a module each; `fenzhang.cli` puts them together.

A module imports what it needs for its options at the top and what it needs for its work inside the function, so that
`fenzhang --help` does not load web3 and SQLAlchemy.
"""
