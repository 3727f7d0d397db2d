"""Libraries that are loaded by their file: what their functions do stands in no code that could be read."""

ENTRIES = {
    "unknown": """
        ctypes.CDLL ctypes.PyDLL ctypes.WinDLL ctypes.OleDLL ctypes.LibraryLoader ctypes.cdll ctypes.pydll ctypes.windll
        ctypes.oledll ctypes.pythonapi ctypes.CFuncPtr ctypes._FuncPtr ctypes.CFUNCTYPE ctypes.PYFUNCTYPE
        ctypes.WINFUNCTYPE ctypes.dlopen numpy.ctypeslib.load_library numpy.ctypeslib._ctypeslib.load_library
        cffi.FFI.dlopen cffi.api.FFI.dlopen cffi.api._make_ffi_library
    """,
}

CLASSES = frozenset(
    {
        *("ctypes.CDLL", "ctypes.CFuncPtr", "_cffi_backend.Lib", "_cffi_backend._CDataBase"),
        "cffi.api._make_ffi_library.<locals>.FFILibrary",
    }
)
"""The classes of such libraries and of their functions, by qualified name."""
