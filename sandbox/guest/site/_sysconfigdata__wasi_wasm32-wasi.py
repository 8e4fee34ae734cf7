"""What `sysconfig` knows of this build. The library's own file of this name cannot be made without
running the interpreter that is being built; nobody compiles extensions for the guest.
"""

build_time_vars = {"EXT_SUFFIX": ".wasm", "Py_DEBUG": 0, "SOABI": "wasm32-wasi", "TZPATH": ""}
