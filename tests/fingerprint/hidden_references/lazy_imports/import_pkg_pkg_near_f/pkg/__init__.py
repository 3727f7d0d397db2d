from . import near
