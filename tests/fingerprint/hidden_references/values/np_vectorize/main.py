import numpy as np
def h(x):
    return x + 1
U = np.vectorize(h)
def entry(x):
    return int(U(x))
