# Run with cmake -P: writes the files named in LIST (paths below ROOT) as C arrays into OUT.
file(STRINGS ${LIST} files)

set(arrays "")
set(rows "")
set(count 0)
foreach(file IN LISTS files)
    file(RELATIVE_PATH name ${ROOT} ${file})
    file(READ ${file} hex HEX)
    string(LENGTH "${hex}" digits)
    math(EXPR size "${digits} / 2")
    string(REGEX REPLACE "(................................)" "\\1\n    " hex "${hex}")
    string(REGEX REPLACE "([0-9a-f][0-9a-f])" "'\\\\x\\1'," bytes "${hex}")
    string(APPEND arrays "/* ${name} */\nstatic const char file_${count}[] = {\n    ${bytes}'\\0'};\n\n")
    string(APPEND rows "    {\"${name}\", file_${count}, ${size}},\n")
    math(EXPR count "${count} + 1")
endforeach()
if(count EQUAL 0)
    set(rows "    {\"\", \"\", 0},\n")
endif()

file(WRITE ${OUT} "/* Generated from lua/ by cmake/write_embedded.cmake. */
#include \"base/embedded.h\"

${arrays}const struct tg_embedded_file tg_embedded_files[] = {
${rows}};
const size_t tg_embedded_files_count = ${count};
")
