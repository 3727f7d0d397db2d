def prompt():
    'hello'
def entry(x):
    return prompt.__doc__
