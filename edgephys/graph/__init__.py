"""The Graph: a typed fixed-point program, its operations, proofs and passes."""
