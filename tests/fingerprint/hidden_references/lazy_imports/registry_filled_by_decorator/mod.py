REG = {}
def reg(f):
    REG[f.__name__] = f
    return f
@reg
def g(x):
    return x + 1
def f(x):
    return REG['g'](x)
