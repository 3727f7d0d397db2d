M = iter([1])
def entry(x):
    return next(M)
