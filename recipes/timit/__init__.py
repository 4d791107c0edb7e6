"""TIMIT."""
