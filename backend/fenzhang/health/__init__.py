"""Whether a process can do its job, and where it says so."""
