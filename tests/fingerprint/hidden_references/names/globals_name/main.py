def helper(x):
    return x + 1
def entry(x):
    return globals()['helper'](x)
