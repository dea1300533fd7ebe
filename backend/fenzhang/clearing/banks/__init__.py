"""Banks behind one small interface, and an adapter for each way to reach one."""
