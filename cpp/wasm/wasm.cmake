# kurve.wasm: the engine on one thread, for JavaScript; see api.cpp.
enable_language(C)

# Jobs side by side and the solvers of least squares are left out.
set(wasm_engine ${engine})
list(REMOVE_ITEM wasm_engine
  cpp/pool.cpp cpp/schedule.cpp cpp/linear.cpp cpp/trust_region.cpp
  cpp/double_tape.cpp)

# ziglang has the sources of C++ exceptions for WebAssembly, but does not build them.
execute_process(
  COMMAND ${KURVE_ZIG} -c "import ziglang, os; print(os.path.dirname(ziglang.__file__))"
  OUTPUT_STRIP_TRAILING_WHITESPACE OUTPUT_VARIABLE zig COMMAND_ERROR_IS_FATAL ANY)
set(unwinding
  ${zig}/lib/libcxxabi/src/cxa_exception.cpp
  ${zig}/lib/libcxxabi/src/cxa_personality.cpp
  ${zig}/lib/libunwind/src/Unwind-wasm.c)

add_executable(kurve ${wasm_engine} ${unwinding}
  cpp/wasm/api.cpp
  cpp/wasm/exceptions.cpp
  cpp/json.cpp
  cpp/plan_json.cpp
  cpp/wasm/plan.cpp
  cpp/wasm/pool.cpp)
set_target_properties(kurve PROPERTIES SUFFIX .wasm)
kurve_link_kernels(kurve)
set(exceptions -fwasm-exceptions -mllvm -wasm-enable-eh)
target_compile_options(kurve PRIVATE ${exceptions})
target_link_options(kurve PRIVATE
  -mexec-model=reactor -fwasm-exceptions -s -Wl,-z,stack-size=1048576)
set_source_files_properties(${unwinding} PROPERTIES
  COMPILE_OPTIONS "-w;-Dthread_local=;-D_LIBUNWIND_HIDE_SYMBOLS;-D_LIBCPP_BUILDING_LIBRARY;-D_LIBCXXABI_BUILDING_LIBRARY;-D_LIBCXXABI_HAS_NO_THREADS"
  INCLUDE_DIRECTORIES
  "${CMAKE_CURRENT_SOURCE_DIR}/cpp/wasm/absent;${zig}/lib/libcxxabi/include;${zig}/lib/libcxxabi/src;${zig}/lib/libcxx/src;${zig}/lib/libunwind/include")
