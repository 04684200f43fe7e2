#include "evaluators/merge/device_merge_evaluator.hpp"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "adapters/json/params_json.hpp"

namespace paretod {
namespace {

/// Seconds to find the GPU and load its code, beside what a scoring program may take to say hello.
constexpr double device_start_s = 60;

class DeviceMergeEvaluator final : public Evaluator {
 public:
  DeviceMergeEvaluator(std::unique_ptr<ProcessEvaluator> program, MergeSpace space)
      : space_(std::move(space)), program_(std::move(program)) {}

  [[nodiscard]] EvaluatorDescription describe() const override { return program_->describe(); }
  [[nodiscard]] Problems check(const EvaluationContext& context) const override {
    return program_->check(context);
  }
  void evaluate(std::vector<EvaluationRequest> requests, Reply reply) override {
    program_->evaluate(std::move(requests), std::move(reply));
  }
  void cancel(std::uint64_t ticket) override { program_->cancel(ticket); }
  [[nodiscard]] Result<std::string> recipe(const EvaluationContext& context,
                                           const Candidate& candidate) const override {
    return recipe_text(space_.recipe_of(context.space, candidate));
  }

 private:
  const MergeSpace space_;
  std::unique_ptr<ProcessEvaluator> program_;
};

std::vector<std::string> arguments(const ParamValues& values, const std::string& program,
                                   std::size_t threads) {
  std::vector<std::string> argv = {program, "merge", "threads=" + std::to_string(threads)};
  constexpr std::array<std::string_view, 2> ours = {"device", "device_program"};
  for (const auto& [name, value] : values) {
    if (std::find(ours.begin(), ours.end(), name) != ours.end()) continue;
    nlohmann::json shown = to_json(value);
    if (name == "environment") {
      // Anybody may read a command line; the process has the values in its environment.
      for (nlohmann::json& entry : shown) {
        const std::string text = entry.get<std::string>();
        entry = text.substr(0, text.find('='));
      }
    }
    argv.push_back(name + "=" + shown.dump());
  }
  return argv;
}

}  // namespace

Result<std::unique_ptr<Evaluator>> start_device_merges(const ParamValues& values,
                                                       const MergeConfig& config,
                                                       const ProcessConfig& process,
                                                       const EvaluatorEnvironment& environment,
                                                       MergeSpace space) {
  if (config.devices.empty()) {
    return invalid("no device is named", {{"/devices", "has to name at least one"}});
  }
  ProcessConfig started;
  const std::size_t count = config.devices.size();
  const std::string name = "paretod-cuda-evaluator";
  started.argv = arguments(
      values, config.device_program.empty() ? installed_program(name) : config.device_program,
      std::max<std::size_t>(environment.threads / count, 1));
  started.processes = static_cast<std::int64_t>(count);
  started.environment = process.environment;
  // What says which GPUs there are, and where CUDA's libraries lie, holds for it as for us.
  for (const char* variable : {"CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "LD_LIBRARY_PATH"}) {
    started.environment.emplace_back(variable);
  }
  // Its own program has to have ended before it can.
  started.grace_s = 2 * process.grace_s;
  started.hello_timeout_s = process.hello_timeout_s + device_start_s;
  auto program = ProcessEvaluator::start(started, environment, "merge");
  if (!program) {
    return invalid(
        "models cannot be merged on a GPU",
        {{"/device", "\"cuda\" needs " + name +
                         ", which is built where nvcc is found (docs/cuda.md), and an NVIDIA GPU "
                         "with its driver: " +
                         program.error().text() +
                         "; or leave device out, and the processor merges"}});
  }
  return std::unique_ptr<Evaluator>(
      std::make_unique<DeviceMergeEvaluator>(std::move(*program), std::move(space)));
}

}  // namespace paretod
