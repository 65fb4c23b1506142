"""Locks, places behind a URI, and files that are written whole."""
