"""
What the commands show: tables and sections, figures, progress, the live screen.

Modules here draw the values that they are given; they open no connection and read no option.
"""
