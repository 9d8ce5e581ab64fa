# One instruction set's objects become one object that shows the linker a single name, its table.
#
# Every other name, above all the weak ones (templates and inline functions, std's included), becomes
# local to the set. A linker keeps one copy of a weak function for the whole program: without this, a
# copy compiled for AVX-512 could be the one that the baseline calls.
#
# cmake -DCXX= -DOBJCOPY= -DNM= -DKEEP= -DSTRICT= -DOUTPUT= -P isa_object.cmake -- objects
set(objects "")
set(past_options FALSE)
math(EXPR last "${CMAKE_ARGC} - 1")
foreach(i RANGE ${last})
  if(past_options)
    list(APPEND objects "${CMAKE_ARGV${i}}")
  elseif(CMAKE_ARGV${i} STREQUAL "--")
    set(past_options TRUE)
  endif()
endforeach()

# Sections that the linker would throw away when it meets them twice become ordinary ones.
execute_process(COMMAND "${CXX}" -r -nostdlib -Wl,--force-group-allocation -o "${OUTPUT}" ${objects}
                COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND "${OBJCOPY}" "--keep-global-symbol=${KEEP}" "${OUTPUT}"
                COMMAND_ERROR_IS_FATAL ANY)

execute_process(COMMAND "${NM}" "${OUTPUT}" OUTPUT_VARIABLE symbols COMMAND_ERROR_IS_FATAL ANY)
if(NOT symbols MATCHES " [A-Z] ${KEEP}\n")
  file(REMOVE "${OUTPUT}")
  message(FATAL_ERROR "no table ${KEEP} in ${objects}")
endif()
# A static object's constructor runs when the library is loaded, on whatever CPU that is.
string(REGEX MATCHALL "_GLOBAL__sub_I_[^\n]*" constructors "${symbols}")
if(constructors AND STRICT)
  file(REMOVE "${OUTPUT}")
  message(FATAL_ERROR "code of ${KEEP} would run at load, before the CPU is known: ${constructors}")
endif()
