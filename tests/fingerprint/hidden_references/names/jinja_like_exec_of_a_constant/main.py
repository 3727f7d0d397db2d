SRC = 'y = x + 1'
def entry(x):
    ns = {'x': x}
    exec(SRC, ns)
    return ns['y']
