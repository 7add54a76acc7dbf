"""What everything else stands on: number formats, errors, files, processes, the machine."""
