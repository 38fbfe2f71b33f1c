"""The operating system: files, processes, the machine, and a deadline on its clock."""
