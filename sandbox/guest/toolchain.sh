# The compiler and its flags, the same for CPython, zlib and the shim. Sourced, not run.

TOOL_PACKAGES="clang-14 lld-14 llvm-14 wasi-libc libclang-rt-14-dev-wasm32 binaryen make patch xz-utils bzip2"

# The last two flags: LLVM 14 cannot compile a thread-local `errno` for a target without threads.
TARGET="--target=wasm32-wasi -mbulk-memory -msign-ext -mnontrapping-fptoint -mmutable-globals -mthread-model single -ftls-model=local-exec"
CC="clang-14 $TARGET"
CXX="clang++-14 $TARGET"
AR=llvm-ar-14
RANLIB=llvm-ranlib-14
# Link-time optimisation: it is worth a sixth of the time of a call.
CFLAGS="-O3 -DNDEBUG -flto"
CPPFLAGS="-D_WASI_EMULATED_SIGNAL -D_WASI_EMULATED_GETPID -D_WASI_EMULATED_PROCESS_CLOCKS -D_WASI_EMULATED_MMAN"
EMULATED="-lwasi-emulated-signal -lwasi-emulated-getpid -lwasi-emulated-process-clocks -lwasi-emulated-mman"
