# The CUDA core, for GPUs with nvcc or, with EMULATED, for the CPU with the C++ compiler: every .cu file
# is written for both. Included by CMakeLists.txt.
file(GLOB sources CONFIGURE_DEPENDS RELATIVE ${CMAKE_SOURCE_DIR} csrc/cuda/*.cpp)
file(GLOB kernels CONFIGURE_DEPENDS RELATIVE ${CMAKE_SOURCE_DIR} csrc/cuda/*.cu)

if(DRAWGAN_CORE STREQUAL "cuda")
  # The last architecture's PTX comes along, for GPUs that are newer than this compiler.
  string(REPLACE "," ";" architectures "${DRAWGAN_CUDA_ARCHS}")
  list(POP_BACK architectures last)
  list(TRANSFORM architectures APPEND "-real")
  set(CMAKE_CUDA_ARCHITECTURES ${architectures} ${last})
  enable_language(CUDA)
  find_package(CUDAToolkit REQUIRED)
  set(CMAKE_CUDA_STANDARD 20)
  set(CMAKE_CUDA_STANDARD_REQUIRED ON)
  set(CMAKE_CUDA_EXTENSIONS OFF)
  set(CMAKE_CUDA_VISIBILITY_PRESET hidden)
  set(CMAKE_CUDA_FLAGS_RELEASE "-O3 -DNDEBUG")
  # Static: the module loads where there is no CUDA, and no driver either.
  set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
  # Keeps registers, stack and spills of every kernel beside its object.
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${Python_EXECUTABLE} ${CMAKE_SOURCE_DIR}/csrc/cuda/keep_resources.py)
  set(nvcc_flags -Xptxas=-v)
  if(DRAWGAN_WERROR)
    list(APPEND nvcc_flags -Werror=all-warnings -Xptxas=--warn-on-spills,-Werror
         -Xcompiler=-Wall,-Wextra,-Werror)
  endif()
  pybind11_add_module(_native_cuda NO_EXTRAS ${sources} ${kernels})
  target_compile_options(_native_cuda PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:${nvcc_flags}>)
  target_link_libraries(_native_cuda PRIVATE CUDA::cudart_static)
  message(STATUS "CUDA core: ${CMAKE_CUDA_ARCHITECTURES}, nvcc ${CMAKE_CUDA_COMPILER_VERSION}")
  return()
endif()

# A sanitizer watches the kernels alone: not the emulation, which changes stacks under its eyes, and
# tells it so itself.
set(emulation tests/support/cuda_on_cpu)
file(GLOB emulator CONFIGURE_DEPENDS RELATIVE ${CMAKE_SOURCE_DIR} ${emulation}/*.cpp)
add_library(emulator OBJECT ${emulator})
pybind11_add_module(_native_cuda_emulated NO_EXTRAS ${sources} ${kernels})
foreach(target emulator _native_cuda_emulated)
  target_compile_definitions(${target} PRIVATE DRAWGAN_CUDA_EMULATION)
  target_include_directories(${target} PRIVATE csrc/cuda ${emulation})
endforeach()
target_link_libraries(_native_cuda_emulated PRIVATE emulator)
# CUDA's #pragma unroll means nothing here.
set(kernel_flags -xc++ -Wno-unknown-pragmas)
if(DRAWGAN_CUDA_SANITIZE)
  list(APPEND kernel_flags -O1 -g1 -fsanitize=${DRAWGAN_CUDA_SANITIZE})
  target_link_options(_native_cuda_emulated PRIVATE -fsanitize=${DRAWGAN_CUDA_SANITIZE})
  target_compile_definitions(
    emulator PRIVATE $<IF:$<STREQUAL:${DRAWGAN_CUDA_SANITIZE},thread>,DRAWGAN_TSAN,DRAWGAN_ASAN>)
endif()
set_source_files_properties(${kernels} PROPERTIES LANGUAGE CXX COMPILE_OPTIONS "${kernel_flags}")
# Half its compile time, and no call's.
set_source_files_properties(${sources} PROPERTIES COMPILE_OPTIONS -O0)
