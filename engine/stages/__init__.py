"""The stages of a round, one file each; `table.py` lists them in order."""
