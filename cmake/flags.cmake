# tg_flags: how our own code is compiled (other people's code does not link it), and the sanitizers,
# which everything gets.
add_library(tg_flags INTERFACE)
target_compile_options(tg_flags INTERFACE
    -Wall -Wextra -Wshadow -Wundef -Wconversion -Wmissing-prototypes -Wstrict-prototypes
    -Wwrite-strings -Wswitch-enum $<$<BOOL:${TG_WERROR}>:-Werror>)

add_compile_options(-fno-omit-frame-pointer -fstack-protector-strong)
add_link_options(-Wl,-z,relro,-z,now)

if(TG_SANITIZE)
    add_compile_options(-fsanitize=${TG_SANITIZE} -fno-sanitize-recover=all)
    add_link_options(-fsanitize=${TG_SANITIZE})
elseif(CMAKE_BUILD_TYPE STREQUAL "RelWithDebInfo" OR CMAKE_BUILD_TYPE STREQUAL "Release")
    # The sanitizers have wrappers of their own that the fortified functions would bypass.
    add_compile_options(-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
    # All is bound at the start anyway, and a message makes some sixty calls of LuaJIT's: 2 % of it.
    add_compile_options(-fno-plt)
endif()

if(TG_FUZZ)
    if(NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
        message(FATAL_ERROR "TG_FUZZ needs clang (libFuzzer): use the preset `fuzz`, or -DCMAKE_C_COMPILER=clang")
    endif()
    add_compile_options(-fsanitize=fuzzer-no-link)
endif()

# The released program is optimised as a whole, which saves 890 of the 2,370 instructions that a message takes
# outside of LuaJIT and the C library: 0.83 us in place of 0.96 with 16 in flight. The objects hold both
# forms, and tests link the plain one.
if(CMAKE_C_COMPILER_ID STREQUAL "GNU" AND CMAKE_BUILD_TYPE STREQUAL "RelWithDebInfo" AND NOT TG_SANITIZE)
    set(TG_WHOLE_PROGRAM -flto=auto -ffat-lto-objects)
    set(TG_WHOLE_PROGRAM_LINK -flto=auto)
endif()
