# TG_EMBEDDED_C: a C file with every file of lua/tidegate in it, made again when one changes.
file(GLOB_RECURSE TG_LUA_FILES CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/lua/tidegate/*.lua)
list(SORT TG_LUA_FILES)
set(TG_EMBEDDED_C ${PROJECT_BINARY_DIR}/generated/embedded_lua.c)

# The list travels in a file whose content changes with it, so that a removed file counts as a change.
set(TG_LUA_LIST ${PROJECT_BINARY_DIR}/generated/lua_files.txt)
list(JOIN TG_LUA_FILES "\n" lua_list_text)
file(CONFIGURE OUTPUT ${TG_LUA_LIST} CONTENT "${lua_list_text}\n" @ONLY)

add_custom_command(
    OUTPUT ${TG_EMBEDDED_C}
    COMMAND ${CMAKE_COMMAND} -DLIST=${TG_LUA_LIST} -DROOT=${PROJECT_SOURCE_DIR}/lua
            -DOUT=${TG_EMBEDDED_C} -P ${PROJECT_SOURCE_DIR}/cmake/write_embedded.cmake
    DEPENDS ${TG_LUA_FILES} ${TG_LUA_LIST} ${PROJECT_SOURCE_DIR}/cmake/write_embedded.cmake
    COMMENT "Embedding the Lua library"
    VERBATIM)
