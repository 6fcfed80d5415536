"""The ground that stages share: config files, the run directory with its lock and stamps, ranks, errors, console.

It imports no other room, so the root config, which has a section of each, is in ``pocketeva.py``. Training is not here:
``fitting`` has it.
"""
