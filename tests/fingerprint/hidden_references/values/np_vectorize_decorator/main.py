import numpy as np
@np.vectorize
def h(x):
    return x + 1
def entry(x):
    return int(h(x))
