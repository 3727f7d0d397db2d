def entry(x):
    from mod import foo
    return foo(x)
