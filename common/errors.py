"""The exceptions for what a user gave and we cannot use."""


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message is one sentence that names the file (or the option), says what is wrong and what to do. The
    command line prints it as it is, without a traceback, and goes on with the other inputs.
    """


class UsageError(InputError):
    """The command line contradicts itself or asks for what does not exist: exit status 2."""
