# find_package(Roost) gives the target Roost::roost. libroost needs nothing but libc, so there is nothing to find first.
include(${CMAKE_CURRENT_LIST_DIR}/RoostTargets.cmake)
