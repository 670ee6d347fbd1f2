"""Nodes in processes that differ in all that a host may set or have."""
