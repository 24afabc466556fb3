// The tag of C++ exceptions, which the linker expects somebody to define.
asm(R"(
  .globl __cpp_exception
  .tagtype __cpp_exception i32
__cpp_exception:
)");
