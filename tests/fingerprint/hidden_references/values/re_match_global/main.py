import re
M = re.match('(.)', 'a')
def entry(x):
    return M.group(1)
