import functools
class P(functools.partial):
    pass
class Model:
    v = 1
def h(m):
    return m.v
S = P(h, Model)
def entry(x):
    return S()
