#include "daemon/worker/request_reader.hpp"

#include <nlohmann/json.hpp>
#include <utility>

#include "adapters/json/parse.hpp"
#include "evaluators/process/relay.hpp"

namespace paretod {
namespace {

/// Jobs whose context is remembered; a worker sees few at a time.
constexpr std::size_t most_contexts = 64;

}  // namespace

RequestReader::RequestReader(LeaseApi& api, const Evaluator& evaluator)
    : api_(api), evaluator_(evaluator) {}

Result<EvaluationRequest> RequestReader::read(const GrantedLease& lease) {
  const auto message = parse_json(lease.request);
  if (!message) return message.error();
  auto context = context_of(lease, *message);
  if (!context) return context.error();
  return request_from_message(*message, std::move(*context));
}

Result<RequestReader::Context> RequestReader::context_of(const GrantedLease& lease,
                                                         const nlohmann::json& message) {
  if (const auto known = contexts_.find(lease.job); known != contexts_.end()) {
    return known->second;
  }
  auto shape = shape_of(lease.job);
  if (!shape) return shape.error();
  auto made = context_from_message(message, std::move(shape->space), std::move(shape->objectives));
  if (!made) return made.error();
  if (Problems problems = evaluator_.check(*made); !problems.empty()) {
    return invalid("the evaluator of this worker is not the one that the job needs",
                   std::move(problems));
  }
  if (contexts_.size() >= most_contexts) contexts_.clear();
  return contexts_[lease.job] = std::make_shared<const EvaluationContext>(std::move(*made));
}

Result<JobShape> RequestReader::shape_of(const std::string& job) {
  auto shape = api_.job(job);
  if (shape || shape.error().kind == ErrorKind::unavailable) return shape;
  // A token that may lease need not be one that may read jobs.
  const EvaluatorDescription declared = evaluator_.describe();
  if (!declared.space || declared.objectives.empty()) return shape;
  auto space = SearchSpace::make(*declared.space);
  if (!space) return space.error();
  return JobShape{std::move(*space), declared.objectives};
}

}  // namespace paretod
