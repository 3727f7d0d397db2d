class Prompt:
    '''hello'''
def entry(x):
    return Prompt.__doc__
