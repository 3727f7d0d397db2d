def f(x):
    return x + STEP
