from pkg import other
def f(x):
    return other.g(x)
