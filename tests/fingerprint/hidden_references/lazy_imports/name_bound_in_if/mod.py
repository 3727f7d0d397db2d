import sys
if sys.version_info > (3,):
    def f(x):
        return x + 1
else:
    def f(x):
        return x
