"""One file a revision, named by its number: `0002_what_it_does.py`."""
