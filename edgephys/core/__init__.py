"""Number formats, rounding, errors, files, processes, timing and figures."""
