"""The words and the arithmetic of fenzhang, with nothing but the standard library under them."""
