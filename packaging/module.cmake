# The modules of a wheel for KURVE_TARGET, in the ABIs KURVE_ABIS: "312", which is the
# stable one of Python 3.12 and newer, and those of single versions. The headers of each
# Python are in KURVE_PYTHON_<ABI>, nanobind in KURVE_NANOBIND.
set_property(GLOBAL PROPERTY TARGET_SUPPORTS_SHARED_LIBS TRUE)
# Paths of this machine stay out, so that equal sources give equal bytes.
add_compile_options(
  -DNDEBUG -fno-sanitize=undefined  # a default of Zig's
  -ffile-prefix-map=${CMAKE_SOURCE_DIR}=. -ffile-prefix-map=${KURVE_NANOBIND}=nanobind)

foreach(abi ${KURVE_ABIS})
  add_library(bound_${abi} OBJECT ${bindings} ${KURVE_NANOBIND}/src/nb_combined.cpp)
  kurve_uses(bound_${abi})
  target_include_directories(bound_${abi} SYSTEM PRIVATE
    ${KURVE_NANOBIND}/include ${KURVE_NANOBIND}/ext/robin_map/include
    ${KURVE_PYTHON_${abi}})
  # nanobind writes to stderr.
  target_compile_options(bound_${abi} PRIVATE -fno-strict-aliasing -includecstdio)
  if(abi EQUAL 312)
    target_compile_definitions(bound_${abi} PRIVATE Py_LIMITED_API=0x030C0000)
  endif()

  add_library(module_${abi} MODULE $<TARGET_OBJECTS:bound_${abi}>)
  kurve_link(module_${abi})
  set_target_properties(module_${abi} PROPERTIES PREFIX "" SUFFIX "" LINKER_LANGUAGE CXX)
  target_link_options(module_${abi} PRIVATE -s)
  if(KURVE_TARGET MATCHES "linux")  # C++'s library has symbols of its own to hide
    target_link_options(module_${abi} PRIVATE
      -Wl,--version-script=${CMAKE_SOURCE_DIR}/packaging/exports.map)
  elseif(KURVE_TARGET MATCHES "macos")
    # Python's symbols are found when the module is loaded. Zig would write the path here
    # as the name of the library.
    target_link_options(module_${abi} PRIVATE
      -Wl,-undefined,dynamic_lookup -Wl,-install_name,@rpath/_core.so)
  elseif(KURVE_TARGET MATCHES "windows")
    set(dll python${abi})
    if(abi EQUAL 312)
      set(dll python3)  # the DLL of the stable ABI
    endif()
    set(import_library ${CMAKE_CURRENT_BINARY_DIR}/${dll}.lib)
    add_custom_command(OUTPUT ${import_library}
      COMMAND ${KURVE_ZIG} ${CMAKE_SOURCE_DIR}/packaging/import_library.py
              ${import_library} $<TARGET_OBJECTS:bound_${abi}>
      DEPENDS bound_${abi} $<TARGET_OBJECTS:bound_${abi}> packaging/import_library.py
      COMMAND_EXPAND_LISTS VERBATIM)
    add_custom_target(import_${abi} DEPENDS ${import_library})
    add_dependencies(module_${abi} import_${abi})
    target_link_libraries(module_${abi} PRIVATE ${import_library})
  endif()
endforeach()
set_source_files_properties(${KURVE_NANOBIND}/src/nb_combined.cpp PROPERTIES
  COMPILE_DEFINITIONS NB_BUILD COMPILE_OPTIONS -w)
