# kurve.wasm: the engine for JavaScript; see api.cpp. With KURVE_WASM_THREADS it runs on
# several threads, in memory that they share, which a page gets only if it is isolated
# from other sites.
enable_language(C)

# Jobs side by side and the solvers of least squares are left out.
set(wasm_engine ${engine})
list(REMOVE_ITEM wasm_engine
  cpp/schedule.cpp cpp/linear.cpp cpp/trust_region.cpp
  cpp/double_tape.cpp)

if(KURVE_WASM_THREADS)
  set(threads cpp/wasm/threads.cpp)
  # engine.js makes the memory, and knows these numbers.
  set(linking -Wl,--import-memory -Wl,--shared-memory -Wl,--initial-memory=16777216
    -Wl,--max-memory=1073741824 -Wl,--export=__stack_pointer
    -Wl,--export=__wasm_init_tls)
  set(thread_local _Thread_local)
else()
  list(REMOVE_ITEM wasm_engine cpp/pool.cpp)
  set(threads cpp/wasm/pool.cpp)
  set(linking "")
  set(thread_local "")
endif()

# ziglang has the sources of C++ exceptions for WebAssembly, but does not build them.
execute_process(
  COMMAND ${KURVE_ZIG} -c "import ziglang, os; print(os.path.dirname(ziglang.__file__))"
  OUTPUT_STRIP_TRAILING_WHITESPACE OUTPUT_VARIABLE zig COMMAND_ERROR_IS_FATAL ANY)
set(unwinding
  ${zig}/lib/libcxxabi/src/cxa_exception.cpp
  ${zig}/lib/libcxxabi/src/cxa_personality.cpp
  ${zig}/lib/libunwind/src/Unwind-wasm.c)

# Unwinding comes first: the linker fills what is undefined so far from the library, whose
# stand-ins would be used instead.
add_executable(kurve ${unwinding} ${wasm_engine}
  cpp/wasm/api.cpp
  cpp/wasm/exceptions.cpp
  cpp/json.cpp
  cpp/plan_json.cpp
  cpp/wasm/plan.cpp
  ${threads})
set_target_properties(kurve PROPERTIES SUFFIX .wasm)
kurve_link_kernels(kurve)
set(exceptions -fwasm-exceptions -mllvm -wasm-enable-eh)
target_compile_options(kurve PRIVATE ${exceptions})
target_link_options(kurve PRIVATE
  -mexec-model=reactor -fwasm-exceptions -s -Wl,-z,stack-size=1048576
  ${linking})
set_source_files_properties(${unwinding} PROPERTIES
  COMPILE_OPTIONS "-w;-Dthread_local=${thread_local};-D_LIBUNWIND_HIDE_SYMBOLS;-D_LIBCPP_BUILDING_LIBRARY;-D_LIBCXXABI_BUILDING_LIBRARY;-D_LIBCXXABI_HAS_NO_THREADS"
  INCLUDE_DIRECTORIES
  "${CMAKE_CURRENT_SOURCE_DIR}/cpp/wasm/absent;${zig}/lib/libcxxabi/include;${zig}/lib/libcxxabi/src;${zig}/lib/libcxx/src;${zig}/lib/libunwind/include")
