"""Data: simulated collisions to jet files, jet files to arrays, arrays to disjoint parts.

Read in the order of the work: `collide`, `detect`, `cluster`, `generate` make a file in the
`layout` of the public LHC jet files; `jets` reads such files; `trim` makes small ones; `split`
parts what was read. `atomic` is how every file is written.
"""
