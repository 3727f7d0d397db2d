def code_fingerprint(f):
    class D: digest=getattr(f,'__qualname__','?')
    return D
