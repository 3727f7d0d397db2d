import builtins
builtins.STEP = 1
