// paretod-cuda-evaluator [merge] NAME=VALUE...: the diffusion evaluators on a GPU, or with "merge"
// the evaluator of merged models, as a program that speaks the evaluator protocol
// (evaluators/process/protocol.hpp):
//
//   {"type": "process", "argv": ["paretod-cuda-evaluator", "model=data/digits/model.json"]}
//   {"type": "merge", "device": "cuda", "recipe": ..}      starts it by itself
//
// Values are JSON, or text as it is.  "processes": n runs n of them; devices=["0","1"] deals them
// out to cards.  --help says what there is.

#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/json/params_json.hpp"
#include "adapters/json/parse.hpp"
#include "evaluators/cuda/cuda_diffusion_evaluator.hpp"
#include "evaluators/cuda/cuda_merge_evaluator.hpp"
#include "evaluators/process/serve.hpp"

namespace paretod::cuda {
namespace {

int fail(const std::string& why, int status = 1) {
  std::fprintf(stderr, "paretod-cuda-evaluator: %s\n", why.c_str());
  return status;
}

void print(const std::vector<FieldInfo>& fields) {
  for (const FieldInfo& field : fields) {
    std::printf("  %-16s %s (default %s)\n", field.name.c_str(), field.meaning.c_str(),
                to_json(field.default_value).dump().c_str());
  }
}

int help() {
  std::printf("paretod-cuda-evaluator NAME=VALUE...\n");
  print(describe<CudaDiffusionConfig>().infos());
  std::printf(
      "\nparetod-cuda-evaluator merge NAME=VALUE...: the fields of the evaluator merge, and\n");
  print(describe<CudaMergeConfig>().infos());
  return 0;
}

/// {"name": value} of the arguments.
Result<ParamValues> values_of(std::span<char* const> arguments) {
  nlohmann::json object = nlohmann::json::object();
  for (const std::string argument : arguments) {
    const std::size_t equals = argument.find('=');
    if (equals == std::string::npos) {
      return invalid("\"" + argument + "\" is not NAME=VALUE; --help lists the names");
    }
    const std::string text = argument.substr(equals + 1);
    const auto value = parse_json(text);
    object[argument.substr(0, equals)] = value ? *value : nlohmann::json(text);
  }
  return param_values_from_json(object, "");
}

/// The one of this process.
Result<int> device_of(const std::vector<std::string>& devices) {
  int count = 0;
  check(cudaGetDeviceCount(&count), "looking for devices");
  if (devices.empty()) {
    return invalid("no device is named", {{"/devices", "has to name at least one"}});
  }
  const char* number = std::getenv("PARETOD_PROCESS");
  const std::size_t process = number == nullptr ? 0 : std::strtoul(number, nullptr, 10);
  const std::size_t index = process % devices.size();
  const std::string& text = devices[index];
  int device = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), device);
  if (error != std::errc() || end != text.data() + text.size() || device < 0 || device >= count) {
    return invalid(
        "a device is not there",
        {{"/devices/" + std::to_string(index),
          "\"" + text + "\" is not the number of a device; there are " + std::to_string(count)}});
  }
  return device;
}

/// Whatever it can be asked for, on the device of this process.
int serve(const Result<std::unique_ptr<Evaluator>>& evaluator, const std::string& name) {
  if (!evaluator) return fail(evaluator.error().text());
  serve_process(**evaluator, name);
  return 0;
}

int run_diffusion(const ParamValues& values) {
  const auto config = describe<CudaDiffusionConfig>().bind(values, "");
  if (!config) return fail(config.error().text());
  const auto device = device_of(config->devices);
  if (!device) return fail(device.error().text());
  check(cudaSetDevice(*device), "choosing the device");
  return serve(CudaDiffusionEvaluator::create(*config, *device), "cuda-diffusion");
}

int run_merge(const ParamValues& values) {
  ParamValues own;
  ParamValues rest;
  const auto fields = describe<CudaMergeConfig>();
  for (const auto& [name, value] : values) {
    const bool ours = std::any_of(fields.infos().begin(), fields.infos().end(),
                                  [&](const FieldInfo& field) { return field.name == name; });
    (ours ? own : rest).emplace(name, value);
  }
  const auto config = fields.bind(own, "");
  if (!config) return fail(config.error().text());
  const auto device = device_of(config->devices);
  if (!device) return fail(device.error().text());
  check(cudaSetDevice(*device), "choosing the device");
  // The end of input ends it; merged models on their way to a program are removed first.
  std::signal(SIGTERM, SIG_IGN);
  std::signal(SIGPIPE, SIG_IGN);
  return serve(cuda_merge_evaluator(*config, *device, rest), "cuda-merge");
}

int run(std::span<char* const> arguments) {
  const bool merges = !arguments.empty() && std::string_view(arguments[0]) == "merge";
  const auto values = values_of(arguments.subspan(merges ? 1 : 0));
  if (!values) return fail(values.error().text());
  return merges ? run_merge(*values) : run_diffusion(*values);
}

}  // namespace
}  // namespace paretod::cuda

int main(int argc, char** argv) {
  using namespace paretod::cuda;
  if (argc > 1 && std::string(argv[1]) == "--help") return help();
  try {
    return run(std::span<char* const>(argv, static_cast<std::size_t>(argc)).subspan(1));
  } catch (const CudaError& error) {
    return fail(error.what(), 70);
  }
}
