"""What users are told when something is wrong that is not a fault of cnnbench's."""


class UserError(Exception):
    """A message to the user: what is wrong, and what is allowed or what to do. The command line prints it alone, and
    ends with exit code 2, or with 1 where it stopped a study that had begun. Any other error is a bug, and has a
    traceback."""
