"""The recipes: a directory of examples/ and a page of docs/recipes/ each, run as pasted."""
