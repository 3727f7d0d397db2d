import pkgutil
def entry(x):
    return pkgutil.resolve_name('mod:f')(x)
