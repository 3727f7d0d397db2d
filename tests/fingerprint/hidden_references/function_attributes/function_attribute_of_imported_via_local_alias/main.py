def h(x):
    return x
h.k = 1
def entry(x):
    f = h
    return f.k
