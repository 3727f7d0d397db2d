K = 0
def setup():
    global K
    K = 1
def entry(x):
    setup()
    return K
