import functools
@functools.singledispatch
def h(x):
    return 'o'
@h.register
def _(x: int):
    return 'i'
def entry(x):
    return h(x)
