"""The one error a user can mend.

Everything else that goes wrong is a programmer's error and stays a traceback.
"""


class AstromlError(Exception):
    """A fault in the input, the options or the machine that the user can mend.

    The message is one sentence or two: what, where, found against expected,
    what to do next. The command line prints it without a traceback and exits
    with 2; ``ASTROML_DEBUG=1`` shows the traceback.
    """
