#include "evaluators/cuda/cuda_merge_evaluator.hpp"

#include <algorithm>
#include <filesystem>
#include <thread>
#include <utility>

#include "evaluators/cuda/cuda_merge_engine.hpp"
#include "evaluators/cuda/device.hpp"
#include "evaluators/merge/merge_evaluator.hpp"

namespace paretod {

template <>
Fields<cuda::CudaMergeConfig> describe() {
  using Config = cuda::CudaMergeConfig;
  return Fields<Config>()
      .add("devices", &Config::devices,
           "numbers of the GPUs; process n takes the n-th of them, round and round")
      .add("device_memory_mb", &Config::device_memory_mb,
           "MiB of its GPU that the process may use; 0: nine tenths of what is there, shared by "
           "the processes of a GPU",
           0, 1e9)
      .add("threads", &Config::threads, "that score merged models; 0: one per processor", 0, 1024);
}

namespace cuda {
namespace {

/// Merges, or ends the process.
class EndingEngine final : public MergeEngine {
 public:
  explicit EndingEngine(std::unique_ptr<MergeEngine> engine) : engine_(std::move(engine)) {}

  [[nodiscard]] std::string name() const override { return engine_->name(); }
  [[nodiscard]] std::size_t candidates_per_pass() const override {
    return engine_->candidates_per_pass();
  }
  [[nodiscard]] std::size_t usual_batch() const override { return engine_->usual_batch(); }
  Result<void> merge(std::span<const MergeCandidate> candidates, MergeOutput& output,
                     const MergeProgress& progress) override {
    try {
      return engine_->merge(candidates, output, progress);
    } catch (const CudaError& error) {
      end_process(error);
    }
  }

 private:
  std::unique_ptr<MergeEngine> engine_;
};

/// Of the device.  Processes that share one say the same of themselves, whichever looks first.
std::uint64_t memory_for(const CudaMergeConfig& config, int device) {
  const auto without_reserve = [](std::uint64_t bytes) {
    return bytes - std::min(bytes / 2, merge_reserved_bytes);
  };
  if (config.device_memory_mb > 0) {
    return without_reserve(static_cast<std::uint64_t>(config.device_memory_mb) << 20);
  }
  const auto sharing =
      std::count(config.devices.begin(), config.devices.end(), std::to_string(device));
  if (sharing <= 1) return 0;
  std::size_t free = 0;
  std::size_t total = 0;
  check(cudaMemGetInfo(&free, &total), "asking for free memory");
  return without_reserve((total - total / 10) / static_cast<std::uint64_t>(sharing));
}

}  // namespace

Result<std::unique_ptr<Evaluator>> cuda_merge_evaluator(const CudaMergeConfig& config, int device,
                                                        const ParamValues& values) {
  EvaluatorEnvironment environment;
  // The daemon starts this process in the folder of its configuration.
  environment.base_directory = std::filesystem::current_path().string();
  environment.threads = config.threads > 0 ? static_cast<std::size_t>(config.threads)
                                           : std::thread::hardware_concurrency();
  CudaMergeLimits limits;
  limits.device = device;
  limits.memory_bytes = memory_for(config, device);
  return create_merge_evaluator(
      values, environment,
      [limits](std::shared_ptr<const MergeSources> sources, const MergeRule& rule,
               const MergeLimits&) -> Result<std::unique_ptr<MergeEngine>> {
        auto engine = cuda_merge_engine(std::move(sources), rule, limits);
        if (engine) {
          return std::unique_ptr<MergeEngine>(std::make_unique<EndingEngine>(std::move(*engine)));
        }
        const bool memory = engine.error().kind == ErrorKind::exhausted;
        return invalid("the GPU cannot merge these models",
                       {{memory ? "/device_memory_mb" : "/recipe", engine.error().text()}});
      });
}

}  // namespace cuda
}  // namespace paretod
