"""A run as its owner sees it: the config of all rooms, the stages with what they left, and the steps of the verbs.

The command line itself, its table of verbs and its exit codes, is ``pocketeva.py``.
"""
