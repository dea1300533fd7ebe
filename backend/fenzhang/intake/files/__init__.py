"""Files of instructions: received whole, cut into rows, and accepted row by row as single requests would be."""
