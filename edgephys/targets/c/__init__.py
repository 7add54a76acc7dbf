"""C99 on integers, for processors and microcontrollers."""
