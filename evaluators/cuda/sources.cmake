# What nvcc compiles, and what runs on the processor beside it; both also run under an emulation of
# the device (tests/CMakeLists.txt).
set(PARETOD_CUDA_KERNELS
  diffusion_launch.cu
  merge_launch.cu
  sparse_launch.cu)
set(PARETOD_CUDA_SOURCES
  denoiser_batch.cpp
  device.cpp
  diffusion_checks.cpp
  merge_checks.cpp
  merge_plan.cpp
  merge_plan_sparse.cpp
  reference_merge.cpp)
# Of the evaluator process: they need the headers of nlohmann-json and Eigen.
set(PARETOD_CUDA_EVALUATOR_SOURCES
  cuda_diffusion_evaluator.cpp
  cuda_merge_engine.cpp
  cuda_merge_evaluator.cpp
  diffusion_scorer.cpp)
