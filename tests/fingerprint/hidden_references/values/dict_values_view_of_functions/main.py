def h(x):
    return x + 1
K = {'a': h}.values()
def entry(x):
    return [f(x) for f in K]
