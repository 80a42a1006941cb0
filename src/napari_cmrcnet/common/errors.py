"""The one error a user is meant to read."""


class UserError(Exception):
    """Something the user can mend, said in one sentence.

    The message names the file, what is wrong with it and what to do. The command line prints it and exits
    with 1; the widgets show it once. Everything else that is raised is a defect of this software.
    """
