"""Functions of an integer as a framework rounds them, written as integer arithmetic that gives the same integers."""
