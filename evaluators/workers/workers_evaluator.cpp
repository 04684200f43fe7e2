#include "evaluators/workers/workers_evaluator.hpp"

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <utility>

#include "evaluators/declared.hpp"
#include "evaluators/process/protocol.hpp"

namespace paretod {
namespace {

struct WorkersConfig {
  std::string hello;
  std::int64_t slots = 64;
};

constexpr std::int64_t most_slots = 10'000;
constexpr std::size_t external_slots = 16;

}  // namespace

template <>
Fields<WorkersConfig> describe() {
  return Fields<WorkersConfig>()
      .add("hello", &WorkersConfig::hello,
           "file with the hello message of the program that the workers run, relative to the "
           "configuration file; without it, jobs state their own space and objectives")
      .add("slots", &WorkersConfig::slots,
           "attempts that a job wants to have in flight where it does not say: about as many as "
           "all workers have slots");
}

namespace {

Result<std::unique_ptr<Evaluator>> create(const ParamValues& values,
                                          const EvaluatorEnvironment& environment) {
  const auto config = describe<WorkersConfig>().bind(values, "");
  if (!config) return config.error();
  EvaluatorDescription description;
  if (!config->hello.empty()) {
    const auto file = std::filesystem::path(environment.base_directory) / config->hello;
    std::ifstream stream(file);
    std::stringstream text;
    text << stream.rdbuf();
    if (!stream) return invalid("", {{"/hello", "cannot be read: " + file.string()}});
    auto hello = parse_hello(text.str());
    if (!hello) {
      return invalid("", {{"/hello", file.string() + " is not a hello: " + hello.error().text()}});
    }
    description = std::move(hello->description);
  }
  if (config->slots < 1 || config->slots > most_slots) {
    return invalid("", {{"/slots", "must be 1 to " + std::to_string(most_slots)}});
  }
  description.type = "workers";
  description.leased = true;
  description.slots = static_cast<std::size_t>(config->slots);
  if (description.summary.empty()) description.summary = "Workers on other machines.";
  return std::unique_ptr<Evaluator>(std::make_unique<LeasedEvaluator>(std::move(description)));
}

}  // namespace

LeasedEvaluator::LeasedEvaluator(EvaluatorDescription description)
    : description_(std::move(description)) {}

Problems LeasedEvaluator::check(const EvaluationContext& context) const {
  return check_declared(description_, context);
}

void LeasedEvaluator::evaluate(std::vector<EvaluationRequest> requests, Reply reply) {
  std::vector<EvaluationReply> replies;
  for (const EvaluationRequest& request : requests) {
    EvaluationReply refused;
    refused.ticket = request.ticket;
    refused.kind = ReplyKind::fault;
    refused.outcome = Outcome::failure(TrialStatus::failed, "only workers evaluate this");
    replies.push_back(std::move(refused));
  }
  reply(std::move(replies));
}

EvaluatorType workers_evaluator_type() {
  return {"workers", "Your own program on other machines, run by `paretod worker`.",
          describe<WorkersConfig>().infos(), create};
}

std::unique_ptr<Evaluator> external_evaluator() {
  EvaluatorDescription description;
  description.type = "external";
  description.summary = "You: :ask the job for candidates and :tell it what you found.";
  description.leased = true;
  description.slots = external_slots;
  return std::make_unique<LeasedEvaluator>(std::move(description));
}

}  // namespace paretod
