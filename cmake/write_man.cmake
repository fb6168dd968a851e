# Run with cmake -P: asks PROGRAM for its manual page and writes it to OUT. A program that cannot say
# it leaves no page and a warning, so that the build of the program itself still counts.
execute_process(COMMAND ${PROGRAM} help --man
    OUTPUT_VARIABLE page ERROR_VARIABLE errors RESULT_VARIABLE failed)
if(failed OR NOT page MATCHES "[.]TH ")
    file(REMOVE ${OUT})
    message(WARNING "No manual page: `tidegate help --man` said (${failed}): ${errors}")
else()
    file(WRITE ${OUT} "${page}")
endif()
file(TOUCH ${OUT}.made)
