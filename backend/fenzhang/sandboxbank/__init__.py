"""A bank to try things with: a process of its own, with its own accounts and its own books. It is nobody's money."""
