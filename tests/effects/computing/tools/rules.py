"""Rules for discounts."""

LIMITS = ((3, 0.1), (2, 0.05))


def discount(amount):
    """The part that is taken off."""
    for limit, part in LIMITS:
        if amount >= limit:
            return part
    return 0.0
