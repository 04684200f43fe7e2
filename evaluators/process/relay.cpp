#include "evaluators/process/relay.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "adapters/json/object_reader.hpp"
#include "adapters/json/params_json.hpp"
#include "adapters/json/space_json.hpp"

namespace paretod {
namespace {

using nlohmann::json;

struct AttemptId {
  std::string job;
  TrialNumber trial = 0;
  std::uint32_t attempt = 0;
};

/// The number that follows the last ':' of `text`, which loses both.
template <class Number>
bool cut_number(std::string_view& text, Number& number) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return false;
  const std::string_view digits = text.substr(colon + 1);
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  text = text.substr(0, colon);
  return error == std::errc() && end == digits.data() + digits.size() && number > 0;
}

std::optional<AttemptId> parse_id(std::string_view text) {
  AttemptId id;
  if (!cut_number(text, id.attempt) || !cut_number(text, id.trial) || text.empty()) return {};
  id.job = text;
  return id;
}

std::optional<AttemptId> read_id(ObjectReader& reader) {
  if (reader.require("id") == nullptr) return {};
  const auto text = reader.string("id");
  if (!text) return {};
  auto id = parse_id(*text);
  if (!id) reader.refuse("id", "has to be \"job:trial:attempt\"");
  return id;
}

json measurement_json(const Measurement& measurement) {
  json object{{"value", measurement.value}};
  if (measurement.has_error()) object["stderr"] = measurement.standard_error;
  if (measurement.count > 0) object["n"] = measurement.count;
  return object;
}

json measurements_json(const std::vector<Measurement>& values,
                       const std::vector<Objective>& objectives) {
  json object = json::object();
  for (std::size_t i = 0; i < std::min(values.size(), objectives.size()); ++i) {
    if (!std::isnan(values[i].value)) object[objectives[i].name] = measurement_json(values[i]);
  }
  return object;
}

void add_examples(json& message, const Outcome& outcome, const std::vector<Objective>& objectives) {
  for (std::size_t i = 0; i < std::min(outcome.examples.size(), objectives.size()); ++i) {
    if (!outcome.examples[i].empty()) message["examples"][objectives[i].name] = outcome.examples[i];
  }
}

void add_cost(json& message, const Spend& cost) {
  message["cost"] = {{"seconds", cost.seconds}};
  if (cost.tokens > 0) message["cost"]["tokens"] = cost.tokens;
  if (cost.money_micros > 0) message["cost"]["money_micros"] = cost.money_micros;
}

std::string_view kind_of(const EvaluationReply& reply) {
  if (reply.kind == ReplyKind::transient) return "transient";
  if (reply.kind == ReplyKind::fault) return "fatal";
  if (reply.outcome.status == TrialStatus::infeasible) return "infeasible";
  return reply.outcome.status == TrialStatus::unknown ? "unknown" : "failed";
}

}  // namespace

Result<EvaluationContext> context_from_message(const json& evaluate, SearchSpace space,
                                               std::vector<Objective> objectives) {
  Problems problems;
  ObjectReader reader(evaluate, "", problems);
  EvaluationContext context;
  if (const auto id = read_id(reader)) context.job = id->job;
  context.seed = reader.count("seed").value_or(0);
  if (const json* params = reader.find("params")) {
    auto values = param_values_from_json(*params, "/params");
    if (values) {
      context.params = std::move(*values);
    } else {
      const Problems& found = values.error().problems;
      problems.insert(problems.end(), found.begin(), found.end());
    }
  }
  if (!problems.empty()) return invalid("the request is not valid", std::move(problems));
  context.space = std::move(space);
  context.objectives = std::move(objectives);
  return context;
}

Result<EvaluationRequest> request_from_message(const json& evaluate,
                                               std::shared_ptr<const EvaluationContext> context) {
  Problems problems;
  ObjectReader reader(evaluate, "", problems);
  EvaluationRequest request;
  if (const auto id = read_id(reader)) {
    if (id->job != context->job) reader.refuse("id", "is of another job than " + context->job);
    request.trial = id->trial;
    request.attempt = id->attempt;
  }
  request.candidate.fidelity = reader.count("fidelity").value_or(0);
  request.candidate.replicate = reader.count("replicate").value_or(0);
  request.deadline_s = reader.number("deadline_s").value_or(0);
  if (request.deadline_s < 0) reader.refuse("deadline_s", "must not be negative");
  if (const json* candidate = reader.require("candidate")) {
    auto point = point_from_json(context->space, *candidate, "/candidate");
    if (point) {
      request.candidate.point = std::move(*point);
    } else {
      const Problems& found = point.error().problems;
      problems.insert(problems.end(), found.begin(), found.end());
    }
  }
  if (!problems.empty()) return invalid("the request is not valid", std::move(problems));
  request.context = std::move(context);
  return request;
}

json message_from_reply(const std::string& id, const EvaluationReply& reply,
                        const std::vector<Objective>& objectives) {
  const Outcome& outcome = reply.outcome;
  json message{{"id", id}};
  if (reply.kind == ReplyKind::progress) {
    message["type"] = "progress";
    message["done"] = reply.done;
    message["partial"] = measurements_json(outcome.objectives, objectives);
    add_examples(message, outcome, objectives);
    return message;
  }
  add_cost(message, outcome.cost);
  if (reply.kind == ReplyKind::done && outcome.status == TrialStatus::ok) {
    message["type"] = "result";
    message["objectives"] = measurements_json(outcome.objectives, objectives);
    message["metrics"] = json::object();
    for (const auto& [name, value] : outcome.metrics) message["metrics"][name] = value;
    if (!outcome.constraints.empty()) message["constraints"] = outcome.constraints;
    add_examples(message, outcome, objectives);
    return message;
  }
  message["type"] = "error";
  message["kind"] = kind_of(reply);
  message["message"] = outcome.reason;
  return message;
}

}  // namespace paretod
