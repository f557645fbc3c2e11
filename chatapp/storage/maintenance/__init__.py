"""Copies of a data folder, putting one back, and repair: what the command line does to a folder as a whole."""
