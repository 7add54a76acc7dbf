"""Data: simulated collisions to jet files, jet files to arrays, arrays to disjoint parts.

Read in the order of the work: `collide`, `detect`, `cluster`, `generate` make a file in the
`layout` of the public LHC jet files; `jets` reads such files; `trim` makes small ones;
`substructure` computes high-level features of a jet; `inputs` reads what a network sees;
`standardise` puts it on fixed-point grids; `split` parts it. `atomic` is how every file is written.
"""
