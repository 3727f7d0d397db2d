L = []
L.append(1)
def f(x):
    return x + L[0]
