def w(n):
    def d(f):
        f.weight = n
        return f
    return d
@w(1)
def h(x):
    return x
L = {'h': h}
def entry(x):
    return [f(x) * f.weight for f in L.values()]
