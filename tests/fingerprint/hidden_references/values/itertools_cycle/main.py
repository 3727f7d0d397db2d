import itertools
M = itertools.cycle([1])
def entry(x):
    return next(M)
