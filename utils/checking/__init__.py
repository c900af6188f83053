"""What checks are made of.

errors: what is wrong, in words; fresh: a new process; kill: its end; outcomes: how a check answers.
"""
