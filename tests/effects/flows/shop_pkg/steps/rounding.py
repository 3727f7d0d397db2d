"""Rounding."""


def rounded(amount: float) -> float:
    """To cents."""
    return round(amount, 2)
