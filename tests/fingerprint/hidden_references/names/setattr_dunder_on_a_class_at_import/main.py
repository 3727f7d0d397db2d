class A:
    pass
A.__rate__ = 1
def entry(x):
    return A.__rate__
