# What `tidegate version` says about the build. Only core/app/version.c sees the commit, so a commit
# recompiles one file.
set(commit unknown)
find_package(Git QUIET)
if(GIT_FOUND AND EXISTS ${PROJECT_SOURCE_DIR}/.git)
    execute_process(
        COMMAND ${GIT_EXECUTABLE} rev-parse --short HEAD
        WORKING_DIRECTORY ${PROJECT_SOURCE_DIR}
        OUTPUT_VARIABLE head OUTPUT_STRIP_TRAILING_WHITESPACE
        RESULT_VARIABLE failed ERROR_QUIET)
    if(NOT failed)
        set(commit ${head})
    endif()
    if(EXISTS ${PROJECT_SOURCE_DIR}/.git/logs/HEAD)
        set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS
            ${PROJECT_SOURCE_DIR}/.git/logs/HEAD)
    endif()
endif()

set(TG_BUILD "${commit} ${CMAKE_BUILD_TYPE}")
if(TG_SANITIZE)
    string(APPEND TG_BUILD " ${TG_SANITIZE}")
endif()
set_source_files_properties(${PROJECT_SOURCE_DIR}/core/app/version.c PROPERTIES
    COMPILE_DEFINITIONS "TG_BUILD=\"${TG_BUILD}\"")
