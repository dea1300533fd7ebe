"""Tables, sessions and migrations. Knows no chain."""
