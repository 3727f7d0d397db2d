class Model:
    v = 1
E = ValueError(Model)
def entry(x):
    return E.args[0].v
