"""Data sets: readers of the usual formats, splits, checks, generated shapes."""
