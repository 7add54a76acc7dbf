"""Run the tools for a table of many models: emit, verify and report in order, with cache and resume."""
