# What paretod's own build would provide: the few sources of it that the CUDA code needs.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()
find_package(Threads REQUIRED)
set(root ${CMAKE_CURRENT_SOURCE_DIR}/../..)

add_library(paretod_options INTERFACE)
target_include_directories(paretod_options INTERFACE ${root})
target_compile_options(paretod_options INTERFACE -Wall -Wextra -ffp-contract=off)

add_library(paretod_core STATIC ${root}/optimizers/core/rng.cpp)
target_link_libraries(paretod_core PUBLIC paretod_options)

set(evaluators ${root}/evaluators)
add_library(paretod_evaluators STATIC
  ${evaluators}/diffusion/denoiser.cpp
  ${evaluators}/diffusion/linear_layer.cpp
  ${evaluators}/diffusion/noise.cpp
  ${evaluators}/diffusion/parallel.cpp
  ${evaluators}/diffusion/schedule.cpp
  ${evaluators}/diffusion/solver.cpp
  ${evaluators}/diffusion/tiles.cpp
  ${evaluators}/merge/merge_factors.cpp
  ${evaluators}/merge/merge_method.cpp)
target_link_libraries(paretod_evaluators PUBLIC paretod_core Threads::Threads)

# The evaluator process, where the two libraries' headers are: in the system, or below a folder of
# CMAKE_INCLUDE_PATH.
find_path(PARETOD_JSON_HEADERS nlohmann/json.hpp)
find_path(PARETOD_EIGEN_HEADERS Eigen/Core PATH_SUFFIXES eigen3)
if(PARETOD_JSON_HEADERS AND PARETOD_EIGEN_HEADERS)
  set(PARETOD_CUDA_EVALUATOR ON)
else()
  message(STATUS "No headers of nlohmann-json and Eigen: without paretod-cuda-evaluator")
endif()
if(PARETOD_CUDA_EVALUATOR)
  file(GLOB core ${root}/optimizers/core/*.cpp)
  list(REMOVE_ITEM core ${root}/optimizers/core/rng.cpp)
  target_sources(paretod_core PRIVATE ${core})
  file(GLOB json ${root}/adapters/json/*.cpp)
  file(GLOB mergekit ${root}/adapters/mergekit/*.cpp)
  file(GLOB safetensors ${root}/adapters/safetensors/*.cpp)
  add_library(paretod_json STATIC ${json})
  target_include_directories(paretod_json PUBLIC ${PARETOD_JSON_HEADERS})
  target_link_libraries(paretod_json PUBLIC paretod_core)
  add_library(paretod_safetensors STATIC ${safetensors})
  target_link_libraries(paretod_safetensors PUBLIC paretod_json)
  add_library(paretod_mergekit STATIC ${mergekit})
  target_link_libraries(paretod_mergekit PUBLIC paretod_json)
  target_include_directories(paretod_evaluators PRIVATE ${PARETOD_EIGEN_HEADERS})
  target_link_libraries(paretod_evaluators PUBLIC paretod_mergekit paretod_safetensors)
  foreach(file checkpoint_set feature_network frechet influence kernel_distance model_description
      reference_images sample_judge schedule_config schedule_evaluator schedule_scorer simd simd_avx2
      simd_avx512 simd_baseline)
    target_sources(paretod_evaluators PRIVATE ${evaluators}/diffusion/${file}.cpp)
  endforeach()
  file(GLOB merge ${evaluators}/merge/*.cpp)
  list(REMOVE_ITEM merge ${evaluators}/merge/merge_factors.cpp ${evaluators}/merge/merge_method.cpp)
  file(GLOB process ${evaluators}/process/*.cpp)
  target_sources(paretod_evaluators PRIVATE
    ${evaluators}/declared.cpp ${evaluators}/in_process.cpp ${merge} ${process})
  # As in evaluators/CMakeLists.txt; elsewhere than on x86-64 the baseline is all there is.
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    set_source_files_properties(${evaluators}/diffusion/simd_avx2.cpp
      PROPERTIES COMPILE_OPTIONS "-mavx2;-mfma;-mf16c")
    set_source_files_properties(${evaluators}/merge/merge_kernels_avx2.cpp
      PROPERTIES COMPILE_OPTIONS "-O3;-mavx2;-mfma;-mf16c")
    set_source_files_properties(${evaluators}/diffusion/simd_avx512.cpp
      ${evaluators}/merge/merge_kernels_avx512.cpp
      PROPERTIES COMPILE_OPTIONS "-O3;-mavx512f;-mavx2;-mfma")
  endif()
endif()
