"""
What the commands show: tables and sections, figures, progress, the live screen.

What belongs here draws values that it is given; it opens no connection and reads no option.
"""
