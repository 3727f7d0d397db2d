C = {'a': 1}
K = C.keys()
def entry(x):
    return list(K)
