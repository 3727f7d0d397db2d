from .near import *
