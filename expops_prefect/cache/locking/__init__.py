"""Leases and single flight."""
