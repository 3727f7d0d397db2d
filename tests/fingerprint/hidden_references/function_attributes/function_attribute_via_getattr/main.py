def h(x):
    return x
h.k = 1
def entry(x):
    return getattr(h, 'k')
