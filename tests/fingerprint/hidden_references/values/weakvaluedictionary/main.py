import weakref
def h(x):
    return x + 1
R = weakref.WeakValueDictionary(h=h)
def entry(x):
    return R['h'](x)
