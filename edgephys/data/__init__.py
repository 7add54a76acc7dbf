"""Data: simulated collisions and waves to files, files to arrays, arrays to disjoint parts.

Read in the order of the work: `collide`, `detect`, `cluster`, `generate` make a file in the
`layout` of the public LHC jet files; `jets` reads such files; `trim` makes small ones;
`substructure` computes high-level features of a jet; `inputs` reads what a network sees;
`standardise` puts it on fixed-point grids; `split` parts it.
`wave_scene` says what waves run through, `wave_equation` solves for them, `wave_runs` draws runs at random and `waves`
writes and reads their files. `pool` makes the parts of a file on all cores, `atomic` is how every file is written.
"""
