"""The subcommands of ``bamac``, one module each, found by their file names.

A module holds a ``click`` command named ``command``; the first line of its docstring is what
``bamac --help`` says of it.
"""
