"""A package with relative imports."""

from shop_pkg.pipeline import price_list


def main():
    return price_list([1.0, 2.5])
