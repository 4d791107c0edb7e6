"""References to test against: brute force that is too slow to use and too plain to be wrong."""
