# The system KURVE_TARGET, in Zig's words, by the Clang of the PyPI package ziglang, which
# the Python KURVE_ZIG has. "Generic" keeps CMake from adding flags of its own.
set(CMAKE_SYSTEM_NAME Generic)
string(REGEX MATCH "^[^-]+" CMAKE_SYSTEM_PROCESSOR "${KURVE_TARGET}")
set(CMAKE_CXX_COMPILER ${KURVE_ZIG} -m ziglang c++ -target ${KURVE_TARGET})
# CMake would link a program to find this out, and Zig would build C++'s library for it.
set(CMAKE_CXX_COMPILER_FORCED TRUE)
set(CMAKE_CXX_COMPILER_ID_RUN TRUE)
set(CMAKE_CXX_COMPILER_ID Clang)
set(CMAKE_CXX_COMPILER_FRONTEND_VARIANT GNU)
set(CMAKE_CXX_COMPILER_VERSION 22)
set(CMAKE_CXX_STANDARD_COMPUTED_DEFAULT 17)
set(CMAKE_CXX_EXTENSIONS_COMPUTED_DEFAULT OFF)
