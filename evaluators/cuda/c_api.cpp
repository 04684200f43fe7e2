#include <algorithm>
#include <cstdio>
#include <exception>
#include <optional>
#include <string>

#include "evaluators/cuda/merge_plan.hpp"
#include "evaluators/cuda/paretod_cuda.h"
#include "evaluators/merge/merge_factors.hpp"

struct paretod_cuda_plan {
  int device = 0;
  std::size_t sources = 0;
  std::size_t groups = 0;
  std::optional<paretod::cuda::MergePlan> plan;
};

namespace paretod::cuda {
namespace {

/// The caller's current device comes back when this goes.
class DeviceGuard {
 public:
  explicit DeviceGuard(int device) {
    check(cudaGetDevice(&previous_), "asking for the device");
    check(cudaSetDevice(device), "choosing the device");
  }
  ~DeviceGuard() { cudaSetDevice(previous_); }
  DeviceGuard(const DeviceGuard&) = delete;
  DeviceGuard& operator=(const DeviceGuard&) = delete;

 private:
  int previous_ = 0;
};

void say(const std::string& text, char* error, std::size_t size) {
  if (error != nullptr && size > 0) std::snprintf(error, size, "%s", text.c_str());
}

/// Runs `body`, which gives a Result<void>, and puts its failure into words.
template <class Body>
int guarded(char* error, std::size_t size, Body body) {
  try {
    const Result<void> done = body();
    if (done) return PARETOD_CUDA_OK;
    say(done.error().text(), error, size);
    return done.error().kind == ErrorKind::internal ? PARETOD_CUDA_FAILED : PARETOD_CUDA_INVALID;
  } catch (const CudaError& failed) {
    say(failed.what(), error, size);
    return failed.out_of_memory() ? PARETOD_CUDA_INVALID : PARETOD_CUDA_FAILED;
  } catch (const std::exception& failed) {
    say(failed.what(), error, size);
    return PARETOD_CUDA_FAILED;
  }
}

Result<MergeRule> rule_of(const paretod_cuda_rule& given) {
  const std::string name = given.method == nullptr ? "" : given.method;
  const auto method = merge_method(name);
  if (!method) {
    return invalid("no method is called \"" + name + "\"; known: " + merge_method_names());
  }
  MergeRule rule = MergeRule::of(*method);
  if (given.normalize >= 0) rule.normalize = given.normalize != 0;
  if (given.rescale != nullptr) {
    const auto rescale = rescale_named(given.rescale);
    if (!rescale) return invalid("rescale has to be none, expected or l1");
    rule.rescale = *rescale;
  }
  rule.gamma = given.gamma;
  if (given.groups < 1 || given.groups > 65'536) {
    return invalid("groups has to be between 1 and 65536");
  }
  rule.groups.resize(given.groups - 1);
  return rule;
}

bool is_type(int type) {
  return type >= PARETOD_CUDA_F32 && type <= PARETOD_CUDA_BF16;
}

Result<PlanTensor> tensor_of(const paretod_cuda_tensor& given, std::size_t sources,
                             std::size_t candidates) {
  const std::string name = given.name == nullptr ? "" : given.name;
  if (!is_type(given.source_type) || !is_type(given.output_type) ||
      (given.base != nullptr && !is_type(given.base_type)) ||
      (given.importances != nullptr && !is_type(given.importance_type))) {
    return invalid("tensor \"" + name + "\" is of a type that is not there");
  }
  if (given.sources == nullptr || given.outputs == nullptr) {
    return invalid("tensor \"" + name + "\" has no sources or no outputs");
  }
  PlanTensor tensor;
  tensor.elements = given.elements;
  tensor.group = given.group;
  tensor.name_hash = tensor_name_hash(name);
  tensor.source_type = static_cast<Stored>(given.source_type);
  tensor.base_type = given.base != nullptr ? static_cast<Stored>(given.base_type) : Stored::f32;
  tensor.output_type = static_cast<Stored>(given.output_type);
  tensor.base = given.base;
  tensor.sources.assign(given.sources, given.sources + sources);
  tensor.outputs.assign(given.outputs, given.outputs + candidates);
  if (given.importances != nullptr) {
    tensor.importance_type = static_cast<Stored>(given.importance_type);
    tensor.importances.assign(given.importances, given.importances + sources);
  }
  return tensor;
}

MergeCandidate candidate_of(const paretod_cuda_candidate& given, std::size_t groups,
                            std::size_t sources) {
  MergeCandidate candidate;
  candidate.seed = given.seed;
  for (std::size_t g = 0; g < groups; ++g) {
    GroupCoefficients group;
    const auto row = [&](const double* values) {
      return values == nullptr
                 ? std::vector<double>(sources, 1.0)
                 : std::vector<double>(values + g * sources, values + (g + 1) * sources);
    };
    group.weights = row(given.weights);
    group.densities = row(given.densities);
    group.lambda = given.lambdas == nullptr ? 1 : given.lambdas[g];
    group.t = given.ts == nullptr ? 0.5 : given.ts[g];
    candidate.groups.push_back(std::move(group));
  }
  return candidate;
}

Result<void> create(int device, const paretod_cuda_rule& given, std::size_t sources,
                    std::size_t candidates, const paretod_cuda_tensor* tensors, std::size_t count,
                    paretod_cuda_plan** plan) {
  const auto rule = rule_of(given);
  if (!rule) return rule.error();
  std::vector<PlanTensor> planned;
  for (std::size_t t = 0; t < count; ++t) {
    auto tensor = tensor_of(tensors[t], sources, candidates);
    if (!tensor) return tensor.error();
    planned.push_back(std::move(*tensor));
  }
  PlanOptions options;
  options.deltas = given.deltas != 0;
  options.no_base = given.no_base != 0;
  options.keep_ties = given.keep_ties != 0;
  if (given.path < PARETOD_CUDA_AUTOMATIC || given.path > PARETOD_CUDA_TENSOR_CORES) {
    return invalid("path is none of the known ones");
  }
  options.path = static_cast<CombinePath>(given.path);
  const DeviceGuard guard(device);
  auto made = MergePlan::make(*rule, sources, candidates, std::move(planned), options);
  if (!made) return made.error();
  auto out = std::make_unique<paretod_cuda_plan>();
  out->device = device;
  out->sources = sources;
  out->groups = rule->group_count();
  out->plan.emplace(std::move(*made));
  *plan = out.release();
  return {};
}

}  // namespace
}  // namespace paretod::cuda

using namespace paretod;
using namespace paretod::cuda;

int paretod_cuda_version(void) {
  return PARETOD_CUDA_VERSION;
}

int paretod_cuda_plan_create(int device, const paretod_cuda_rule* rule, size_t sources,
                             size_t candidates, const paretod_cuda_tensor* tensors, size_t count,
                             paretod_cuda_plan** plan, char* error, size_t error_size) {
  return guarded(error, error_size, [&]() -> Result<void> {
    if (rule == nullptr || plan == nullptr || (tensors == nullptr && count > 0)) {
      return invalid("a pointer is null");
    }
    return create(device, *rule, sources, candidates, tensors, count, plan);
  });
}

int paretod_cuda_plan_run(paretod_cuda_plan* plan, const paretod_cuda_candidate* candidates,
                          size_t count, void* stream, char* error, size_t error_size) {
  return guarded(error, error_size, [&]() -> Result<void> {
    if (plan == nullptr || (candidates == nullptr && count > 0))
      return invalid("a pointer is null");
    std::vector<MergeCandidate> numbers;
    for (std::size_t p = 0; p < count; ++p) {
      if (candidates[p].weights == nullptr) return invalid("a candidate has no weights");
      numbers.push_back(candidate_of(candidates[p], plan->groups, plan->sources));
    }
    const DeviceGuard guard(plan->device);
    return plan->plan->run(numbers, static_cast<cudaStream_t>(stream));
  });
}

void paretod_cuda_plan_destroy(paretod_cuda_plan* plan) {
  if (plan == nullptr) return;
  guarded(nullptr, 0, [&]() -> Result<void> {
    const DeviceGuard guard(plan->device);
    plan->plan->wait();
    delete plan;
    return {};
  });
}

uint64_t paretod_cuda_plan_input_bytes(const paretod_cuda_plan* plan) {
  return plan->plan->input_bytes();
}

uint64_t paretod_cuda_plan_output_bytes(const paretod_cuda_plan* plan) {
  return plan->plan->output_bytes();
}
