"""The command line, `python3 -m utils COMMAND`: `commands` says what there is."""
