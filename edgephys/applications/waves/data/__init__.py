"""Waves: the equation, its scenes, and files of simulated runs."""
