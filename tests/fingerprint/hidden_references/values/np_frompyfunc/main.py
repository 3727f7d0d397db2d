import numpy as np
def h(x):
    return x + 1
U = np.frompyfunc(h, 1, 1)
def entry(x):
    return U(x)
