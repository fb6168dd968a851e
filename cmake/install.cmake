# The program, the ready-made policies, the editor annotations and the page made of them, the examples and
# the manual page.
install(TARGETS tidegate RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY policies/ DESTINATION ${CMAKE_INSTALL_DATADIR}/tidegate/policies)
install(DIRECTORY lua/meta/ DESTINATION ${CMAKE_INSTALL_DATADIR}/tidegate/meta)
install(FILES lua/API.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY examples/ DESTINATION ${CMAKE_INSTALL_DATADIR}/tidegate/examples)

if(TG_SOURCE_TREE)
    install(CODE "message(WARNING \"This build prefers the Lua library in ${PROJECT_SOURCE_DIR}/lua \
while that folder exists. To install for others, configure with -DTG_SOURCE_TREE=OFF.\")")
endif()

if(TG_MAN)
    set(TG_MAN_PAGE ${PROJECT_BINARY_DIR}/tidegate.1)
    add_custom_command(
        OUTPUT ${TG_MAN_PAGE}.made
        BYPRODUCTS ${TG_MAN_PAGE}
        COMMAND ${CMAKE_COMMAND} -DPROGRAM=$<TARGET_FILE:tidegate> -DOUT=${TG_MAN_PAGE}
                -P ${PROJECT_SOURCE_DIR}/cmake/write_man.cmake
        DEPENDS tidegate ${PROJECT_SOURCE_DIR}/cmake/write_man.cmake
        COMMENT "Writing the manual page"
        VERBATIM)
    add_custom_target(man ALL DEPENDS ${TG_MAN_PAGE}.made)
    install(FILES ${TG_MAN_PAGE} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 OPTIONAL)
endif()
