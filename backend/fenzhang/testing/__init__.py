"""fenzhang for the tests of other projects: pytest fixtures (`plugin`) and what they give (`system`)."""
