"""The commands of ``liquid-lane``: each parses its options, calls one function and prints."""
