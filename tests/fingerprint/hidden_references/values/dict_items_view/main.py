C = {'a': 1}
K = C.items()
def entry(x):
    return list(K)
