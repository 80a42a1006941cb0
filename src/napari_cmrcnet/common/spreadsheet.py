"""Text that a spreadsheet shows and does not run."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def safe_text(text: str) -> str:
    """Return a text with a leading ``'`` if a spreadsheet would take it for a formula.

    That is one that starts with ``=``, ``+``, ``-`` or ``@``, their full-width forms, a tab or the end of a line. For
    text only: numbers, negative ones too, are written as they are.
    """
    return f"'{text}" if text.startswith(_FORMULA) else text
