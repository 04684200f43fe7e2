// paretod-cuda-evaluator NAME=VALUE...: the diffusion evaluators on a GPU, as a program that speaks
// the evaluator protocol (evaluators/process/protocol.hpp):
//
//   {"type": "process", "argv": ["paretod-cuda-evaluator", "model=data/digits/model.json"]}
//
// Values are JSON, or text as it is.  "processes": n runs n of them; devices=["0","1"] deals them
// out to cards.  --help says what there is.

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>

#include "adapters/json/params_json.hpp"
#include "adapters/json/parse.hpp"
#include "evaluators/cuda/cuda_diffusion_evaluator.hpp"
#include "evaluators/process/serve.hpp"

namespace paretod::cuda {
namespace {

int fail(const std::string& why, int status = 1) {
  std::fprintf(stderr, "paretod-cuda-evaluator: %s\n", why.c_str());
  return status;
}

int help() {
  std::printf("paretod-cuda-evaluator NAME=VALUE...\n");
  const auto fields = describe<CudaDiffusionConfig>();
  for (const FieldInfo& field : fields.infos()) {
    std::printf("  %-12s %s (default %s)\n", field.name.c_str(), field.meaning.c_str(),
                to_json(field.default_value).dump().c_str());
  }
  return 0;
}

/// {"name": value} of the arguments.
Result<ParamValues> values_of(int argc, char** argv) {
  nlohmann::json object = nlohmann::json::object();
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
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
Result<int> device_of(const CudaDiffusionConfig& config) {
  int count = 0;
  check(cudaGetDeviceCount(&count), "looking for devices");
  if (config.devices.empty()) {
    return invalid("no device is named", {{"/devices", "has to name at least one"}});
  }
  const char* number = std::getenv("PARETOD_PROCESS");
  const std::size_t process = number == nullptr ? 0 : std::strtoul(number, nullptr, 10);
  const std::size_t index = process % config.devices.size();
  const std::string& text = config.devices[index];
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

int run(int argc, char** argv) {
  const auto values = values_of(argc, argv);
  if (!values) return fail(values.error().text());
  const auto config = describe<CudaDiffusionConfig>().bind(*values, "");
  if (!config) return fail(config.error().text());
  const auto device = device_of(*config);
  if (!device) return fail(device.error().text());
  check(cudaSetDevice(*device), "choosing the device");
  auto evaluator = CudaDiffusionEvaluator::create(*config, *device);
  if (!evaluator) return fail(evaluator.error().text());
  serve_process(**evaluator, "cuda-diffusion");
  return 0;
}

}  // namespace
}  // namespace paretod::cuda

int main(int argc, char** argv) {
  using namespace paretod::cuda;
  if (argc > 1 && std::string(argv[1]) == "--help") return help();
  try {
    return run(argc, argv);
  } catch (const CudaError& error) {
    return fail(error.what(), 70);
  }
}
